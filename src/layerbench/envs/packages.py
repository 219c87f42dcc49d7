"""The installed package that an environment comes with."""

import functools
import hashlib
import json
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from layerbench.hashing import file_sha256


@dataclass(frozen=True, slots=True)
class EnvPackage:
    """Where the code of an environment comes from.

    Attributes:
        name: Name of the distribution; empty if the module belongs to none.
        version: Version of the distribution; empty likewise.
        module_sha256: Hash of the module's file where it belongs to no distribution; else empty.
    """

    name: str = ""
    version: str = ""
    module_sha256: str = ""


@functools.cache
def package_of(module: str) -> EnvPackage:
    """Find the distribution that a module was installed with, or else hash its file.

    >>> package_of("layerbench.envs.keydoor.env").name
    'layerbench'
    """
    origin = _origin(module)
    for name in _distributions(module.partition(".")[0]):
        found = metadata.distribution(name)
        if origin is None or _holds(found, origin):
            return EnvPackage(name=name, version=found.version)
    return EnvPackage(module_sha256=file_sha256(origin) if origin else "")


def _origin(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        spec = util.find_spec(module)
        file = spec.origin if spec is not None and spec.has_location else None
    return Path(file) if file else None


def _distributions(top: str) -> list[str]:
    # To ask for all of them takes a fifth of a second.
    if top == __name__.partition(".")[0]:
        return [top]
    return metadata.packages_distributions().get(top, [])


def _holds(found: metadata.Distribution, origin: Path) -> bool:
    """Tell whether a file was installed with a distribution, which a local one may shadow."""
    if found.name == __name__.partition(".")[0]:
        return True
    text = found.read_text("direct_url.json")
    if text and json.loads(text).get("dir_info", {}).get("editable"):
        return True
    return any(Path(str(found.locate_file(file))) == origin for file in found.files or ())


def named(distribution: str) -> EnvPackage:
    """Name an installed distribution with its version."""
    return EnvPackage(name=distribution, version=metadata.version(distribution))


def hash_of_file(path: Path) -> str:
    """Hash a Python file, and what was imported from its folder, if anything was.

    A file alone has the hash of its bytes.
    """
    files = {path}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).suffix == ".py":
            beside = Path(file).resolve()
            # An environment may lie in a folder that a virtual environment lies in as well.
            if beside.is_relative_to(path.parent) and "site-packages" not in beside.parts:
                files.add(beside)
    if files == {path}:
        return file_sha256(path)
    hashes = [f"{file.relative_to(path.parent)} {file_sha256(file)}" for file in sorted(files)]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
