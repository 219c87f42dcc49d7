"""The installed package that an environment comes with."""

import functools
import json
import sys
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from layerbench.envs.references import Loaded
from layerbench.hashing import file_sha256


@dataclass(frozen=True, slots=True)
class EnvPackage:
    """Where the code of an environment comes from.

    Attributes:
        name: Name of the distribution; empty if the module belongs to none.
        version: Version of the distribution; empty likewise.
        module_sha256: Hash of the files of an environment that is not layerbench's own; else empty.
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


def package_with(loaded: Loaded) -> EnvPackage:
    """Find the distribution that an environment comes with; that of a file is none."""
    spec = loaded.spec
    if spec.package:
        return EnvPackage(name=spec.package, version=metadata.version(spec.package))
    if loaded.file is not None:
        return EnvPackage()
    made_by = spec.env
    if isinstance(made_by, str):
        module = made_by.partition(":")[0]
    else:
        module = getattr(made_by, "__module__", "")
    return package_of(module or loaded.module)


def is_own(module: str) -> bool:
    """Tell whether a module is of layerbench.

    >>> is_own("layerbench.envs.keydoor.env"), is_own("layerbench_extras")
    (True, False)
    """
    return module.partition(".")[0] == __name__.partition(".")[0]


def _origin(module: str) -> Path | None:
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None)
    if file is None:
        spec = util.find_spec(module)
        file = spec.origin if spec is not None and spec.has_location else None
    return Path(file) if file else None


def _distributions(top: str) -> list[str]:
    # To ask for all of them takes a fifth of a second.
    if is_own(top):
        return [top]
    return metadata.packages_distributions().get(top, [])


def _holds(found: metadata.Distribution, origin: Path) -> bool:
    """Tell whether a file was installed with a distribution, which a local one may shadow."""
    if is_own(found.name):
        return True
    text = found.read_text("direct_url.json")
    if text and json.loads(text).get("dir_info", {}).get("editable"):
        return True
    return any(Path(str(found.locate_file(file))) == origin for file in found.files or ())


def root_of(module: str) -> Path:
    """Find the folder of the package that an imported module is in, or the file of a lone one.

    Of namespace packages, which several distributions share, it is the first folder that is none.
    """
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        file = getattr(sys.modules.get(".".join(parts[:number])), "__file__", None)
        if file is not None:
            path = Path(file).resolve()
            return path.parent if path.name == "__init__.py" else path
    raise ModuleNotFoundError(f"module {module} has no file")
