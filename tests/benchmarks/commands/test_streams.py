"""The command line as a process: Ctrl-C at any moment, and streams that take nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.record_example import example

COMMAND = [sys.executable, "-m", "layerbench"]


def shell(script: str) -> "subprocess.CompletedProcess[str]":
    command = f'layerbench() {{ {sys.executable} -m layerbench "$@"; }}; set -o pipefail; {script}'
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ("layerbench envs | true", 141, ""),
        ("layerbench envs > /dev/full", 1, "the output cannot be written: No space left on device"),
        ("layerbench envs >&-", 1, "the output cannot be written: Bad file descriptor"),
        ("layerbench envs 2>&- >&-", 1, ""),
        ("layerbench envs <&- > /dev/null", 0, ""),
        ("layerbench envs x 2>&-", 2, ""),
        (
            "layerbench leaderboard $'\\xff'",
            2,
            r"argument '\udcff' is not UTF-8: name it otherwise",
        ),
        (f"layerbench leaderboard {'x' * 300}", 2, "x cannot be used: File name too long"),
        (f"layerbench view {'x' * 300}", 2, "json cannot be used: File name too long"),
        ("layerbench play keydoor --seed -5", 2, "--seed must be from 0 to 4294967295, got -5"),
    ],
)
def test_a_stream_or_name_that_cannot_be_used_is_one_line(
    script: str, status: int, says: str
) -> None:
    ended = shell(script)
    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (status, bool(says)), ended.stderr
    assert says in ended.stderr


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("settings", "record.json.settings.a nests deeper than 16 levels"),
        ("env", "record.json.env "),
        ("seed", "record.json.seed must be int, got a dict"),
        ("started", "record.json.started must be str, got a dict"),
    ],
)
def test_a_record_that_nests_deeply_is_one_line(field: str, says: str, tmp_path: Path) -> None:
    data = json.loads(example().to_json())
    data[field] = "deep"
    # Written by hand: json.dumps cannot nest so deeply.
    deep = '{"a": ' * 900 + "1" + "}" * 900
    (tmp_path / "record.json").write_text(json.dumps(data).replace('"deep"', deep))
    ended = shell(f"layerbench leaderboard --check {tmp_path}")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert says in ended.stdout
    assert len(ended.stdout.splitlines()) == 3


def test_ctrl_c_before_the_command_line_is_imported_is_one_line(tmp_path: Path) -> None:
    # At an import of the start: a module of that name that interrupts the process.
    (tmp_path / "argparse.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    ended = subprocess.run(
        [*COMMAND, "envs"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (130, "layerbench: interrupted\n")


@pytest.mark.slow
def test_ctrl_c_while_the_interpreter_ends_is_ignored() -> None:
    # All is done then; what is registered first is carried out last.
    code = (
        "import atexit, os, signal, sys\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "from layerbench.__main__ import main\n"
        "sys.argv = ['layerbench', 'envs']\n"
        "sys.exit(main())"
    )
    argv = [sys.executable, "-c", code]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("argv", [["run", "alfworld", "--layer", "1"], ["sweep", "alfworld"]])
def test_ctrl_c_of_a_run_is_one_line(argv: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, *argv, "--preset", "quick", "train.iterations=500", "run_root=runs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Of its own, which a terminal interrupts as a whole.
        process_group=0,
    )
    while not list(tmp_path.glob("runs/*/config.yaml")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("layerbench: interrupted")


def test_an_interrupt_that_a_librarys_c_code_let_through_has_the_same_exit_status(
    tmp_path: Path,
) -> None:
    # Python remembers one that `exec` of a text let through: after a program that is run by `-m`,
    # it ends itself by the signal.
    (tmp_path / "program.py").write_text(
        "import os, signal, sys\n"
        "from layerbench import __main__, interrupts\n"
        "from layerbench.benchmarks import cli\n"
        "def main():\n"
        "    try:\n"
        "        exec('os.kill(os.getpid(), signal.SIGINT); [None for _ in range(10**7)]')\n"
        "    except KeyboardInterrupt:\n"
        "        return cli.INTERRUPTED\n"
        "cli.main = main\n"
        "raise SystemExit(__main__.main())\n"
    )
    argv = [sys.executable, "-m", "program"]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "")
