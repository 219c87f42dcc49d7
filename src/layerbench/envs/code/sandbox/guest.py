"""Inside the sandbox: runs the program of one job, and nothing that judges it.

Started as a script, without layerbench: what it imports has to lie in the sandbox. It reads a job
and requests from stdin, and writes replies to stdout, one JSON value a line. A program may forge
any reply; all it gains is to have given another value: what is expected is never sent here.
"""

import contextlib
import ctypes
import io
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, cast

MAX_DEPTH = 50
"""Nesting of a value that is sent."""

_MAX_DIGITS = 4_000
_TAG = "~"

_CLONE_FLAGS = 0x10000000 | 0x20000 | 0x20000000 | 0x40000000 | 0x8000000 | 0x4000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 32, 4096, 16384
_MS_PRIVATE, _MS_RELATIME = 1 << 18, 1 << 21
# Flags that a mount has, and that may not be taken from it: noexec, noatime, nodiratime.
_KEPT_FLAGS = 8 | 1024 | 2048
_ST_RELATIME = 4096
_MNT_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_CAPABILITY_VERSION = 0x20080522
_NOBODY = 65534
# Where the new root is mounted: a folder that every Linux has, and that is needed no more.
_NEW_ROOT = "/proc"


class UnsendableError(Exception):
    """A value has no form in which it can be sent."""


def encode(value: object, depth: int = 0) -> Any:  # noqa: ANN401, C901 - a value of JSON
    """Write a value as JSON: numbers, text, and the usual containers of them.

    Raises:
        UnsendableError: It is of another kind, nested too deeply, or a very long number.
    """
    if depth > MAX_DEPTH:
        raise UnsendableError("nested too deeply")
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        if abs(value) < 1 << 53:
            return int(value)
        if value.bit_length() > 3 * _MAX_DIGITS:
            raise UnsendableError("a very long number")
        return {_TAG: "int", "v": str(int(value))}
    if isinstance(value, list):
        return [encode(item, depth + 1) for item in cast(list[object], value)]
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            items = cast(Sequence[object], value)
            return {_TAG: kind.__name__, "v": [encode(item, depth + 1) for item in items]}
    if isinstance(value, dict):
        pairs = cast(Mapping[object, object], value).items()
        return {_TAG: "dict", "v": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in pairs]}
    if isinstance(value, bytes):
        return {_TAG: "bytes", "v": value.hex()}
    raise UnsendableError(f"a {type(value).__name__}")


def decode(sent: object, depth: int = 0) -> Any:  # noqa: ANN401 - any such value
    """Read what ``encode`` wrote, as values of Python's own classes alone.

    Raises:
        ValueError: It is something else.
        TypeError: Likewise; a list in a set, for example.
    """
    if depth > 2 * MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(sent, list):
        return [decode(item, depth + 1) for item in cast(list[object], sent)]
    if not isinstance(sent, dict):
        return sent
    fields = cast(dict[str, Any], sent)
    kind, inner = fields.get(_TAG), fields.get("v")
    if kind in ("int", "bytes") and isinstance(inner, str):
        return int(inner) if kind == "int" else bytes.fromhex(inner)
    makers: Mapping[Any, Callable[[Any], Any]] = {
        "tuple": tuple[Any, ...],
        "set": set[Any],
        "frozenset": frozenset[Any],
        "dict": lambda pairs: {key: value for key, value in pairs},  # noqa: C416
    }
    if kind not in makers or not isinstance(inner, list):
        raise ValueError("of no known kind")
    return makers[kind](decode(cast(object, inner), depth + 1))


class _Channel:
    """Requests and replies, on descriptors of their own."""

    def __init__(self, requests: int, replies: int) -> None:
        self._requests = os.fdopen(requests, "rb", buffering=1 << 16)
        self._replies = replies

    def read(self) -> dict[str, Any]:
        line = self._requests.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def write(self, reply: Mapping[str, object]) -> None:
        content = json.dumps(reply).encode() + b"\n"
        while content:
            content = content[os.write(self._replies, content) :]


def _libc() -> Any:  # noqa: ANN401
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _die_with_parent() -> None:
    _libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def enter_namespaces(folders: Sequence[str], links: Sequence[Sequence[str]]) -> None:
    """Go on as first process of new namespaces, on an empty read-only root with these folders.

    Raises:
        OSError: The kernel does not let this user do so.
    """
    libc = _libc()
    uid, gid = os.getuid(), os.getgid()
    _check(libc.unshare(_CLONE_FLAGS), "unshare")
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{_NOBODY} {uid} 1"),
        ("gid_map", f"{_NOBODY} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - pathlib takes long to import
            file.write(content)
    child = os.fork()
    if child:
        os.closerange(0, 3)
        os.waitpid(child, 0)
        os._exit(0)
    _die_with_parent()
    _change_root(libc, folders, links)
    libc.sethostname(b"sandbox", 7)
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _change_root(libc: Any, folders: Sequence[str], links: Sequence[Sequence[str]]) -> None:  # noqa: ANN401
    def mount(source: str, target: str, flags: int, kind: str = "") -> None:
        names = [text.encode() or None for text in (source, target, kind)]
        _check(libc.mount(*names, ctypes.c_ulong(flags), None), f"mount {target}")

    fixed = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
    mount("", "/", _MS_REC | _MS_PRIVATE)
    mount("tmpfs", _NEW_ROOT, _MS_NOSUID | _MS_NODEV, "tmpfs")
    for folder in folders:
        target = _NEW_ROOT + folder
        os.makedirs(target, mode=0o755, exist_ok=True)  # noqa: PTH103
        mount(folder, target, _MS_BIND | _MS_REC)
        has = os.statvfs(folder).f_flag
        kept = has & _KEPT_FLAGS | (_MS_RELATIME if has & _ST_RELATIME else 0)
        mount("", target, _MS_REMOUNT | _MS_BIND | fixed | kept)
    for target, name in links:
        os.symlink(target, _NEW_ROOT + name)  # noqa: PTH211
    os.chdir(_NEW_ROOT)
    number = ctypes.c_long(_PIVOT_ROOT[os.uname().machine])
    _check(libc.syscall(number, b".", b"."), "pivot_root")
    _check(libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
    mount("", "/", _MS_REMOUNT | _MS_BIND | fixed)


def _confine(limits: Mapping[str, int], syscall_filter: bytes) -> None:
    """Give this process limits and a filter of system calls, which it cannot take back."""
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    libc = _libc()
    buffer = ctypes.create_string_buffer(syscall_filter, len(syscall_filter))

    class Program(ctypes.Structure):
        _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    program = Program(len(syscall_filter) // 8, ctypes.addressof(buffer))
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0), "seccomp")


def _memory_file(content: bytes = b"") -> int:
    file = os.memfd_create("stream")
    while content:
        content = content[os.write(file, content) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _in_child(run: Callable[[], None], stdin: int, stdout: int, config: Mapping[str, Any]) -> int:
    """Fork, and run the program in a confined process; returns that process's id."""
    child = os.fork()
    if child:
        return child
    try:
        _die_with_parent()
        for source, target in ((stdin, 0), (stdout, 1), (stdout, 2)):
            os.dup2(source, target)
        os.environ.clear()
        _confine(config["limits"], bytes.fromhex(config["filter"]))
        run()
    finally:
        # Whatever the program raised or left behind; nothing of it may go on here.
        os._exit(1)


def _wait(child: int) -> int:
    """Wait for a process, and end it as soon as nobody waits for replies any more."""
    ending = os.pidfd_open(child)
    poll = select.poll()
    poll.register(ending, select.POLLIN)
    poll.register(0, 0)
    done = status = 0
    while not done:
        if any(file == 0 and event & select.POLLHUP for file, event in poll.poll()):
            os.kill(child, signal.SIGKILL)
            os._exit(0)
        done, status = os.waitpid(child, os.WNOHANG)
    os.close(ending)
    return os.waitstatus_to_exitcode(status)


def _execute(code: str, name: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": name, "exit": sys.exit, "quit": sys.exit}
    if "random" in code:
        import random  # noqa: PLC0415 - takes longer than all the rest

        random.seed(0)
    exec(compile(code, "program", "exec", dont_inherit=True), space)
    return space


def _run_function(job: Mapping[str, Any], channel: _Channel) -> None:
    """Make the function, then answer each request by a call."""
    try:
        space = _execute(job["code"], "program")
        owner, entry = space.get("Solution"), job["entry"]
        function = getattr(cast(Any, owner)(), entry) if hasattr(owner, entry) else space[entry]
    except BaseException as error:  # noqa: BLE001 - a program may raise anything
        channel.write({"error": _name(error)})
        return
    channel.write({"ready": True})
    while True:
        request = channel.read()
        arguments, named = decode(request["args"]), decode(request.get("named", []))
        try:
            reply = {"value": encode(function(*arguments, **dict(named)))}
        except BaseException as error:  # noqa: BLE001
            reply = {"error": _name(error)}
        channel.write(reply)


def _name(error: BaseException) -> str:
    try:
        return str(type(error).__name__)[:60]
    except BaseException:  # noqa: BLE001 - its class may be the program's own
        return "error"


class _CallFailedError(BaseException):
    """The program failed; tests that catch exceptions must not take it for theirs."""


def _run_tests(job: Mapping[str, Any], channel: _Channel) -> None:
    """Run tests on a function that is elsewhere: each call is asked for, and answered."""

    def call(*arguments: object, **named: object) -> object:
        sent = {"args": encode(list(arguments)), "named": encode(list(named.items()))}
        channel.write({"call": sent})
        reply = channel.read()
        if "value" not in reply:
            raise _CallFailedError
        return decode(reply["value"])

    passed = 0
    try:
        space = _execute(job["setup"], "tests")
        space[job["entry"]] = space["candidate"] = call
        for test in job["tests"]:
            exec(compile(test, "tests", "exec", dont_inherit=True), space)
            passed += 1
        channel.write({"passed": passed})
    except BaseException as error:  # noqa: BLE001
        channel.write({"passed": passed, "error": _name(error)})


def _run_stream(code: str) -> None:
    """Run a program as a script; its exit status says whether it ended well."""
    # Of the channel and the streams, which are not the program's.
    os.closerange(3, 256)
    sys.stdin = io.TextIOWrapper(io.FileIO(0), encoding="utf-8", errors="replace")
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding="utf-8", errors="replace")
    status = 0
    try:
        _execute(code, "__main__")
    except SystemExit as error:
        status = 0 if error.code in (None, 0) else 1
    except BaseException:  # noqa: BLE001
        status = 1
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    os._exit(status)


def _serve_streams(job: Mapping[str, Any], channel: _Channel, config: Mapping[str, Any]) -> None:
    while True:
        stdin, stdout = (
            _memory_file(channel.read()["stdin"].encode("utf-8", "replace")),
            _memory_file(),
        )
        child = _in_child(lambda: _run_stream(job["code"]), stdin, stdout, config)
        status = _wait(child)
        size = min(os.fstat(stdout).st_size, config["limits"]["RLIMIT_FSIZE"])
        text = os.pread(stdout, size, 0).decode("utf-8", "replace")
        os.close(stdin)
        os.close(stdout)
        channel.write({"stdout": text, "status": status})


def main() -> NoReturn:
    """Enter the sandbox, then do one job."""
    config = json.loads(sys.argv[1])
    _die_with_parent()
    if config["level"] == "namespaces":
        enter_namespaces(config["folders"], config["links"])
    requests, replies = os.dup(0), os.dup(1)
    channel = _Channel(requests, replies)
    channel.write({"started": True})
    job = channel.read()
    config["limits"]["RLIMIT_CPU"] = job["cpu_s"]
    if job["kind"] == "stream":
        _serve_streams(job, channel, config)
    run = {"function": _run_function, "tests": _run_tests}[job["kind"]]
    empty, output = _memory_file(), _memory_file()
    _wait(_in_child(lambda: run(job, channel), empty, output, config))
    os._exit(0)


if __name__ == "__main__":
    main()
