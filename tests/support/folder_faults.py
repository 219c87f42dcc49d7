"""Faults of a machine, put before every change that a process makes below a folder.

A change is each file that is opened for writing, each write, each flush to the disk, each rename,
and each folder or name that is made or removed. They are counted from 0.
"""

import builtins
import ctypes
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from safetensors import torch as safetensors

KILLED = 99
"""Exit status of a process that a fault ended."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NAMES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.symlink", "os.link")
_TAKES_ROOM = frozenset({"open", "write", "fsync", "os.mkdir"})


class Faults:
    """Counts the changes below a folder, and lets one of them fail.

    Args:
        folder: The folder; changes elsewhere are left alone.
        kill_at: Number of the change before which, or within which, the process ends.
        copies: Folder, elsewhere, that gets a copy of the folder before each change, and in the
            middle of each write: what a kill there would leave. They are named by the numbers.
        full_from: Number of the change from which on there is no room on the disk.
        log: File, elsewhere, that gets a line for each change.
    """

    def __init__(
        self,
        folder: Path,
        *,
        kill_at: int | None = None,
        copies: Path | None = None,
        full_from: int | None = None,
        log: Path | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._kill_at = kill_at
        self._copies = copies
        self._full_from = full_from
        self._log = log
        self._count = 0
        self._busy = False

    def install(self) -> None:
        """Watch this process from here on; there is no way back."""
        opened: Callable[..., Any] = io.open
        fsync, write = os.fsync, os.write
        save_file: Callable[..., None] = getattr(safetensors, "save_file")  # noqa: B009 - untyped

        def open_file(file: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
            handle = opened(file, *args, **options)
            if isinstance(file, int) or not handle.writable() or not self._is_below(file):
                return handle
            return _Written(handle, file, self)

        def fsync_file(descriptor: Any) -> None:  # noqa: ANN401
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            self.meet("fsync", _path_of(number))
            fsync(number)

        def write_bytes(descriptor: int, data: bytes) -> int:
            path = _path_of(descriptor)
            self.meet("write", path, half=lambda: write(descriptor, data[: len(data) // 2]))
            if self._is_below(path):
                # A copy's half of the data is no longer there.
                os.lseek(descriptor, 0, os.SEEK_END)
            return write(descriptor, data)

        def save_tensors(tensors: Any, path: Path, *args: Any) -> None:  # noqa: ANN401
            # Written by Rust code, which no audit hook sees.
            self.meet("open", str(path))

            def write_half() -> None:
                save_file(tensors, path, *args)
                os.truncate(path, path.stat().st_size // 2)

            self.meet("write", str(path), half=write_half)
            save_file(tensors, path, *args)

        for module, name, replacement in (
            (builtins, "open", open_file),
            (io, "open", open_file),
            (os, "fsync", fsync_file),
            (os, "write", write_bytes),
            (safetensors, "save_file", save_tensors),
        ):
            setattr(module, name, replacement)
        sys.addaudithook(self._audit)

    def meet(
        self, what: str, path: str | Path, *, half: Callable[[], object] | None = None
    ) -> None:
        """Count a change, and let it fail if it is its turn.

        Args:
            what: Kind of the change.
            path: Path that is changed.
            half: Does half of the change.
        """
        if self._busy or not self._is_below(path):
            return
        number, self._count = self._count, self._count + 1
        self._busy = True
        try:
            if self._log is not None:
                with self._log.open("a") as log:
                    log.write(f"{what} {_unfollowed(path).relative_to(self._folder)}\n")
            if self._copies is not None:
                self._copy(self._copies / str(number), path, half)
            if number == self._kill_at:
                self._end(half)
            if self._full_from is not None and number >= self._full_from and what in _TAKES_ROOM:
                if half is not None:
                    half()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            self._busy = False

    def _copy(self, copy: Path, path: str | Path, half: Callable[[], object] | None) -> None:
        if not self._folder.is_dir():
            return
        size = Path(path).stat().st_size if Path(path).exists() else None
        if half is not None:
            half()
        shutil.copytree(self._folder, copy, symlinks=True)
        if half is not None and size is not None:
            os.truncate(path, size)

    def _end(self, half: Callable[[], object] | None) -> NoReturn:
        if half is not None:
            half()
        os._exit(KILLED)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, str | bytes) and flags & _WRITING:
                self.meet("open", os.fsdecode(path))
        elif event in _NAMES:
            # A relative name is that of a file in a folder that is open: shutil.rmtree's way.
            path, folder = Path(os.fsdecode(args[0])), args[-1]
            if not path.is_absolute() and isinstance(folder, int) and folder >= 0:
                path = _path_of(folder) / path
            self.meet(event, path)

    def _is_below(self, path: str | Path) -> bool:
        return _unfollowed(path).is_relative_to(self._folder)


def _unfollowed(path: str | Path) -> Path:
    # The name itself may be that of a link, which is what is changed.
    return Path(path).parent.resolve() / Path(path).name


def _path_of(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


class _Written:
    """A file whose writes are changes."""

    def __init__(self, file: Any, path: str | Path, faults: Faults) -> None:  # noqa: ANN401
        self._file = file
        self._path = path
        self._faults = faults

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._file, name)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:  # noqa: ANN401
        def write_half() -> None:
            self._file.write(data[: len(data) // 2])
            self._file.flush()

        self._file.flush()
        self._faults.meet("write", self._path, half=write_half)
        # A copy's half of the data is no longer there.
        self._file.seek(0, os.SEEK_END)
        written: int = self._file.write(data)
        self._file.flush()
        return written


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def respect_permissions() -> None:
    """Let permissions of files count for this process, also where it is root's."""
    if os.geteuid() != 0:
        return
    # capabilities(7): 1 is CAP_DAC_OVERRIDE, 2 CAP_DAC_READ_SEARCH.
    libc = ctypes.CDLL(None, use_errno=True)
    header = _CapabilityHeader(0x20080522, 0)
    sets = (_Capabilities * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0].effective &= ~0b110
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")
