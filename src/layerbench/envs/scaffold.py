"""Writes a new environment to start from: a file, or a package."""

import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template

from layerbench import files
from layerbench.envs import references
from layerbench.errors import UserError

_PACKAGE = {
    "pyproject.toml": "package/pyproject.txt",
    "README.md": "package/readme.txt",
    "src/{name}/__init__.py": "environment.txt",
    "tests/test_{name}.py": "package/test.txt",
}


def write_file(name: str, folder: Path) -> Path:
    """Write ``NAME.py``, which runs as it is.

    Raises:
        UserError: The name is no name of a module, or is taken.
    """
    _check_name(name)
    path = folder / f"{name}.py"
    _write(path, "environment.txt", name)
    return path


def write_package(name: str, folder: Path) -> Path:
    """Write a folder of the name with a package in it, which pip can install.

    Raises:
        UserError: The name is no name of a module, or is taken.
    """
    _check_name(name)
    if name in references.installed():
        raise UserError(f"an environment named '{name}' is installed: take another name")
    package = folder / name
    if package.exists():
        raise UserError(f"there is a {package} already: take another name")
    for path, template in _PACKAGE.items():
        _write(package / path.format(name=name), template, name)
    return package


def _write(path: Path, template: str, name: str) -> None:
    if path.exists():
        raise UserError(f"there is a {path} already: take another name")
    text = resources.files("layerbench.envs").joinpath("templates", template).read_text()
    class_name = "".join(part.capitalize() for part in name.split("_"))
    filled = Template(text).substitute(
        name=name, class_name=class_name, project=name.replace("_", "-")
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, filled.encode())


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        raise UserError(
            f"'{name[:60]}' cannot be the name of a module: take small letters, digits and _, "
            "such as my_env"
        )
    if name in sys.stdlib_module_names or name in ("layerbench", "gymnasium"):
        raise UserError(f"'{name}' is a module that programs need: take another name")
