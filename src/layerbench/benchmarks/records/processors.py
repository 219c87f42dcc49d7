"""Names of processors: sums round otherwise on another one, and so does what a model learns."""

import platform
from pathlib import Path


def cpu() -> str:
    """Name this machine's processor as its operating system does, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
