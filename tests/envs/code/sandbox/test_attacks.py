"""What untrusted programs try: none is scored as right, none reaches the machine, none stays."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from layerbench.envs.code.sandbox import guests
from layerbench.envs.code.sandbox.guests import Pool, level_in_force, obstacle, pool_of
from layerbench.envs.code.sandbox.levels import LEVELS
from layerbench.envs.code.sandbox.verdicts import (
    CallTests,
    Limits,
    ScriptTests,
    StreamTests,
    judge,
)
from layerbench.errors import UserError

pytestmark = pytest.mark.timeout(120)

SHORT = Limits(cpu_s=1, wall_s=3.0)
SECRET = 918273645
"""What the tests expect, and no program can know."""

# Bodies of a function f(x), of which the tests expect SECRET.
ATTACKS = {
    "fork bomb": "import os\nwhile True:\n    os.fork()",
    "fork by libc": "import ctypes\nwhile ctypes.CDLL(None).fork() >= 0: pass\nreturn x",
    "thread bomb": "import threading, time\nwhile True:\n"
    "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "one large text": "return len('a' * (1 << 34))",
    "growing list": "xs = [0]\nwhile True:\n    xs = xs + xs",
    "mapped memory": "import mmap\nreturn [mmap.mmap(-1, 1 << 30) for _ in range(64)] and 1",
    "exit": "import os\nos._exit(0)",
    "exit of the interpreter": "raise SystemExit(0)",
    "interrupt": "raise KeyboardInterrupt",
    "forged assertion": "raise AssertionError('passed')",
    "exception that equals all": "class E(BaseException):\n    def __eq__(self, o): return True\n"
    "    def __str__(self): return 'passed'\nraise E",
    "exception of a lying class": "class M(type):\n    def __getattribute__(c, n): return True\n"
    "class E(Exception, metaclass=M): pass\nraise E",
    "value that equals all": "class V:\n    def __eq__(self, o): return True\n"
    f"    def __repr__(self): return '{SECRET}'\nreturn V()",
    "number that equals all": "class V(int):\n    def __eq__(self, o): return True\n"
    "    def __ne__(self, o): return False\n    __hash__ = None\nreturn V(1)",
    "list that lies": "class V(list):\n    def __eq__(self, o): return True\n"
    "    def __len__(self): return 1\nreturn V([1])",
    "dict that lies": "class V(dict):\n    def __missing__(self, k): return True\n"
    "    def items(self): return [('value', 1)]\nreturn V()",
    "class for a value": "class M(type):\n    def __eq__(c, o): return True\n"
    "    def __instancecheck__(c, o): return True\nclass V(metaclass=M): pass\nreturn V",
    "builtins replaced": "import builtins\nfor name in dir(builtins):\n"
    "    if name.islower(): setattr(builtins, name, lambda *a, **k: True)\nreturn 1",
    "json replaced": "import json\njson.dumps = lambda *a, **k: '{\"passed\": 2}'\nreturn 1",
    "printed verdict": "print('{\"passed\": 2}')\nprint('PASSED')\nreturn 1",
    "written verdict": "import os\nfor fd in range(64):\n    try:\n"
    '        os.write(fd, b\'{"passed": 2}\\n{"started": true}\\n{"ready": true}\\n\')\n'
    "    except OSError: pass\nreturn 1",
    "replies ahead": "import os\nfor fd in range(3, 64):\n    try:\n"
    "        os.write(fd, b'{\"value\": 1}\\n' * 1000)\n    except OSError: pass\nreturn 1",
    "malformed replies": "import os\nfor fd in range(3, 64):\n    try:\n"
    "        os.write(fd, b'[' * 60000 + b'\\n')\n    except OSError: pass\nreturn 1",
    "value of forged kind": "import os\nfor fd in range(3, 64):\n    try:\n"
    '        os.write(fd, b\'{"value": {"~": "set", "v": [[1]]}}\\n\')\n'
    "    except OSError: pass\nreturn 1",
    "search of memory": "import gc, sys\nframe = sys._getframe()\nseen = []\nwhile frame:\n"
    "    seen.append(frame.f_locals)\n    frame = frame.f_back\n"
    "text = repr(seen) + repr(gc.get_objects())\nwanted = str(918273644 + x)\n"
    "return int(wanted) if wanted in text else 1",
    "deep recursion": "def g(n): return g(n + 1)\nreturn g(0)",
    "deeper recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\n"
    "def g(n): return sorted([n], key=lambda n: g(n + 1))\nreturn g(0)",
    "deep value": "v = 1\nfor _ in range(10 ** 6): v = [v]\nreturn v",
    "value in itself": "v = []\nv.append(v)\nreturn v",
    "huge number": "return 1 << 10 ** 9",
    "large number": "return 10 ** 5000",
    "long value": "return 'a' * (60 << 20)",
    "flood of errors": "import sys\nwhile True: sys.stderr.write('a' * 65536)",
    "no reading": "import time\ntime.sleep(999)",
    "crash": "import ctypes\nreturn ctypes.string_at(0)",
    "higher limits": "import resource\n"
    "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)\nreturn 1",
    "tracing the parent": "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
    "return libc.ptrace(16, os.getppid(), 0, 0)",
    "a shell": "import os\nreturn os.system('echo 1')",
    "a program": "import os\nos.execv('/bin/sh', ['sh'])",
    "children left behind": "import subprocess\nsubprocess.Popen(['sleep', '99'])\nreturn 1",
    "a pool of processes": "import multiprocessing\n"
    "multiprocessing.Process(target=print).start()\nreturn 1",
    "signals to all": "import os\nfor pid in (os.getppid(), 1, 0, -1):\n    os.kill(pid, 9)",
    "signals to the group": "import os\nos.killpg(0, 9)",
    "signals by a descriptor": "import fcntl, os, signal\nr, w = os.pipe()\n"
    "fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\nreturn 1",
    "new namespaces": "import ctypes\nreturn ctypes.CDLL(None).unshare(0x10000000)",
    "a new session": "import os\nos.setsid()\nreturn 1",
}


@pytest.fixture(params=LEVELS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    level: str = request.param
    if reason := obstacle(level):
        pytest.skip(f"{level}: {reason}")
    # Other tests may have left some, such as playwright's driver.
    before = set(psutil.Process().children(recursive=True))
    pool = pool_of(level)
    began = time.time()
    yield pool
    pool.close()
    # The kernel takes a moment to end all processes of a namespace.
    assert _soon(lambda: set(psutil.Process().children(recursive=True)) <= before)
    assert _soon(lambda: not list(_orphans(began)))


def _soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10.0
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def _orphans(began: float) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_guest = any("guest.py" in part for part in process.cmdline())
            if is_guest and process.ppid() == 1 and process.create_time() >= began:
                yield process


def _function(body: str) -> str:
    return "\n    ".join(["def f(x):", *body.split("\n")])


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_is_scored_as_right(pool: Pool, attack: str) -> None:
    program = _function(ATTACKS[attack])
    scripted = ScriptTests(
        "f", "", (f"assert f(1) == {SECRET}", f"assert candidate(2) != {SECRET}")
    )
    called = CallTests("f", (([1], [SECRET]),))
    for tests in (scripted, called):
        verdict = judge(pool, program, tests, SHORT)
        assert (verdict.passed, verdict.is_right) == (0, False)
        assert verdict.reason
    # Whatever it did, the next program finds a sandbox as before.
    assert judge(pool, "def f(x):\n    return x", CallTests("f", (([1], [1]),))).is_right


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("while True: pass", "time"),
        ("while True: print('a' * 65536)", "error"),
        ("import os\nwhile True: os.write(1, b'a' * 65536)", "error"),
        ("import os\nos._exit(0)", "wrong"),
        ("exit(1)", "error"),
        ("x = 1 +", "error"),
        ("print(1)\n0 / 0", "error"),
        ("import os\nos.write(1, b'\\xff' * 100)", "wrong"),
        ("import sys\nsys.stdout = None\nsys.stdin.close()", "wrong"),
        ("while True: input()", "error"),
    ],
)
def test_scripts_end_with_a_reason(pool: Pool, program: str, reason: str) -> None:
    verdict = judge(pool, program, StreamTests((("1\n", str(SECRET)),)), SHORT)
    assert (verdict.passed, verdict.reason) == (0, reason)


def test_an_endless_function_is_stopped(pool: Pool) -> None:
    began = time.monotonic()
    verdict = judge(pool, _function("while True: pass"), CallTests("f", (([1], [2]),)), SHORT)
    assert verdict.reason == "time"
    assert time.monotonic() - began < 4 * SHORT.wall_s


def test_tests_that_hang_or_lie_are_contained_as_well(pool: Pool) -> None:
    program = _function("return x")
    for test, is_undecided in (
        ("while True: pass", True),
        ("import os\nos._exit(0)", True),
        (
            "import os\nfor fd in range(3, 64):\n    try:\n"
            "        os.write(fd, b'{\"passed\": []}\\n')\n    except OSError: pass",
            True,
        ),
        ("import os\nos.fork()", False),
        ("f(f)", False),
    ):
        verdict = judge(pool, program, ScriptTests("f", "", (test,)), SHORT)
        assert (verdict.is_right, verdict.is_undecided) == (False, is_undecided)


def _output(pool: Pool, program: str) -> str:
    """Let a program write what it finds; returned by way of what the harness was given."""
    with pool.guest() as guest:
        guest.tell({"kind": "stream", "code": program, "cpu_s": 5}, timeout_s=10.0)
        guest.tell({"stdin": ""}, timeout_s=10.0)
        return str(guest.hear(timeout_s=10.0)["stdout"])


def test_no_variable_of_the_environment_is_seen(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAYERBENCH_SECRET", "hidden-value")
    program = (
        "import glob, os\nprint(dict(os.environ))\n"
        "for name in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n"
        "    try: print(open(name).read())\n    except OSError: pass\n"
    )
    found = _output(pool, program)
    assert found.startswith("{}\n")
    if pool.level != "limits":
        assert found == "{}\n"
        assert "hidden-value" not in found


def test_files_of_the_machine_are_out_of_reach(pool: Pool, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("private")
    program = (
        "import os\n"
        f"path = {str(mine)!r}\n"
        "def tried(what):\n    try:\n        return what()\n"
        "    except OSError as error:\n        return type(error).__name__\n"
        "print(tried(lambda: open(path).read()))\n"
        "print(tried(lambda: open(path, 'w').close()))\n"
        "print(tried(lambda: os.open(path + '2', os.O_CREAT | os.O_RDONLY)))\n"
        "print(tried(lambda: open('/new', 'w').close()))\n"
        "print(tried(lambda: os.mkdir('/tmp/new-folder')))\n"
        "print(tried(lambda: os.unlink(path)))\n"
        "print(tried(lambda: os.rename(path, path + '3')))\n"
        "print(tried(lambda: os.truncate(path, 0)))\n"
        "print(tried(lambda: os.chmod(path, 0o777)))\n"
        "print(tried(lambda: os.symlink(path, path + '4')))\n"
    )
    read, *written = _output(pool, program).split()
    assert read == ("private" if pool.level == "limits" else "FileNotFoundError")
    assert len(written) == 9
    assert set(written) <= {"PermissionError", "FileNotFoundError"}
    assert mine.read_text() == "private"
    assert [*tmp_path.iterdir()] == [mine]


def test_the_root_has_nothing_but_python(pool: Pool) -> None:
    if pool.level == "limits":
        pytest.skip("limits: files of the machine can be read, as is documented")
    found = _output(pool, "import os\nprint(*os.listdir('/'))")
    assert not {"etc", "home", "proc", "tmp", "dev", "sys", "var"} & {*found.split()}
    assert _output(pool, "import layerbench") == ""


def test_there_is_no_network(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        program = (
            "import socket\nfor family in (socket.AF_INET, socket.AF_UNIX):\n"
            "    try:\n        socket.socket(family)\n        print('made')\n"
            "    except PermissionError:\n        print('refused')\n"
            f"try: socket.create_connection(('127.0.0.1', {port}), 1)\n"
            "except OSError: print('refused')\n"
        )
        assert _output(pool, program).split() == ["refused"] * 3
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_process_that_waits_can_end_at_any_time(pool: Pool) -> None:
    before = set(psutil.Process().children(recursive=True))
    with pool.guest() as guest:
        job = {"kind": "function", "code": "while 1: pass", "entry": "f"}
        guest.tell({**job, "cpu_s": 60}, timeout_s=10.0)
        time.sleep(0.3)
        children = set(psutil.Process().children(recursive=True)) - before
        started = [process for process in children if process.cpu_percent(0.1) > 0]
        assert started
    assert _soon(lambda: not any(map(psutil.Process.is_running, started)))


def test_nothing_outlives_a_killed_run(pool: Pool) -> None:
    program = (
        "import time\n"
        "from layerbench.envs.code.sandbox.guests import Guest\n"
        f"guest = Guest({pool.level!r})\n"
        "guest.tell({'kind': 'function', 'code': 'while 1: pass', 'entry': 'f',"
        " 'cpu_s': 60}, timeout_s=10.0)\n"
        "time.sleep(0.5)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        started = psutil.Process(run.pid).children(recursive=True)
        assert started
        run.kill()
    assert _soon(lambda: not any(map(psutil.Process.is_running, started)))


def test_os_limits_hold_without_privileges(pool: Pool) -> None:
    program = "import os\nprint(os.getuid(), os.getpid() < 10)"
    uid, is_alone = _output(pool, program).split()
    if pool.level != "limits":
        assert (uid, is_alone) == ("65534", "True")
    else:
        assert int(uid) == os.getuid()


def test_less_than_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    level_in_force.cache_clear()
    reasons = {"bwrap": "no", "namespaces": "no", "limits": ""}
    monkeypatch.setattr(guests, "obstacle", reasons.__getitem__)
    message = r"\(bwrap: no; namespaces: no\); env\.sandbox=limits works"
    with pytest.raises(UserError, match=message):
        level_in_force("namespaces")
    assert level_in_force("limits") == "limits"
    level_in_force.cache_clear()
