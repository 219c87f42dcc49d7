"""How strongly programs are kept apart from this machine, and what of it this machine can do."""

import functools
import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from layerbench.envs.choices import check_known
from layerbench.envs.code.sandbox import syscall_filter
from layerbench.errors import UserError

LEVELS = ("bwrap", "namespaces", "limits")
"""From the strongest. ``bwrap`` and ``namespaces``: an empty read-only root but for Python, no
network, no other processes. ``limits``: files of this machine can be read. At all of them, system
calls are filtered, and time, memory and output are limited.
"""

_MIB = 1 << 20
_LIMITS = {
    "RLIMIT_AS": 1024 * _MIB,
    "RLIMIT_FSIZE": 16 * _MIB,
    "RLIMIT_NOFILE": 64,
    "RLIMIT_CORE": 0,
}
_GUEST = Path(__file__).with_name("guest.py")
# Hashes of text must not differ from run to run: a program may depend on the order of a set.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def check_level(level: str) -> None:
    """Refuse a level that there is not.

    Raises:
        UserError: It is unknown.
    """
    check_known("env.sandbox", level, LEVELS)


def environment() -> dict[str, str]:
    """List the environment variables of the sandbox: nothing of this process's."""
    return dict(_ENVIRONMENT)


def command(level: str) -> list[str]:
    """Give the command that starts a guest at a level.

    Raises:
        UserError: The level needs a program, system or processor that is not here.
    """
    if not sys.platform.startswith("linux") or not syscall_filter.is_known():
        raise UserError(
            f"programs are run in a sandbox on Linux on x86-64 or 64-bit ARM alone, and this is "
            f"{sys.platform} on {platform.machine()}"
        )
    folders, links = _visible()
    python = [_python(), "-s", "-S", "-B", "-P", "-X", "utf8"]
    config = json.dumps(
        {
            "level": level,
            "folders": folders,
            "links": links,
            "limits": _LIMITS,
            "filter": syscall_filter.build().hex(),
        }
    )
    if level != "bwrap":
        return [*python, str(_GUEST), config]
    return [*_bubblewrap(folders, links), *python, "/guest.py", config]


def _bubblewrap(folders: Sequence[str], links: Sequence[tuple[str, str]]) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        raise UserError("the program bwrap is not here: install bubblewrap")
    binds = [part for folder in folders for part in ("--ro-bind", folder, folder)]
    binds += [part for target, name in links for part in ("--symlink", target, name)]
    executable = _python()
    if not any(Path(executable).is_relative_to(folder) for folder in folders):
        binds += ["--ro-bind", executable, executable]
    variables = [part for pair in _ENVIRONMENT.items() for part in ("--setenv", *pair)]
    return [
        *(program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"),
        *("--cap-drop", "ALL", "--die-with-parent", "--new-session", "--as-pid-1"),
        *("--hostname", "sandbox", "--clearenv", *variables),
        *(*binds, "--ro-bind", str(_GUEST), "/guest.py", "--remount-ro", "/", "--chdir", "/", "--"),
    ]


def _python() -> str:
    # That of a virtual environment is a link, which the sandbox does not have.
    return os.path.realpath(sys.executable)


@functools.cache
def _visible() -> tuple[list[str], list[tuple[str, str]]]:
    """List the folders that Python needs, and links at the root that lead into them."""
    named = [
        Path(sysconfig.get_path("stdlib")).parent,
        # Of the installation itself, not of a virtual environment.
        Path(sys.base_exec_prefix) / sys.platlibdir,
        Path(sysconfig.get_config_var("LIBDIR") or ""),
    ]
    # Some builds of Python name a folder of the machine that they were built on.
    there = [path for path in named if path.is_absolute() and path.is_dir()]
    wanted = dict.fromkeys(str(path.resolve()) for path in there)
    links: list[tuple[str, str]] = []
    for name in ("/lib", "/lib64", "/usr/lib", "/usr/lib64"):
        path = Path(name)
        if path.is_symlink():
            links.append((os.readlink(path), name))  # noqa: PTH115 - as it is written
        if path.is_dir():
            wanted[os.path.realpath(path)] = None
    folders = sorted(wanted)
    top = [f for f in folders if not any(f != g and Path(f).is_relative_to(g) for g in folders)]
    return top, links
