"""Runs generated inputs through the command line, and judges how each of them ends.

    python tools/generated_inputs.py --count 1000 --seed 0

Hostile settings, layers, seeds and arguments, and changed files of honest runs. A good end is an
exit status of 0, 1, 2 or 130 within ten seconds of the processor, without a traceback, and with one
line of error at most. Prints every other end with what repeats it, and exits with 1 if there was
one. Most inputs run in forks of one process, which spares the imports; one in fifty runs as a
process of its own.
"""

import argparse
import copy
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks import cli
from layerbench.benchmarks.config import overrides, sections
from layerbench.benchmarks.html import episodes_page
from layerbench.benchmarks.leaderboard import correlation_matrix
from layerbench.benchmarks.models import combination, export
from layerbench.benchmarks.runs import launch, resolve
from layerbench.benchmarks.sweep import sweep
from layerbench.benchmarks.verify import report

# Imported here, so that no fork imports them again.
WARM = (episodes_page, correlation_matrix, combination, export, launch, report, sweep)

LIMIT_S = 10
"""Processor time of an input, without the imports."""

WAIT_S = 120.0
"""Time by the clock, which on a busy machine is far more."""

GOOD_STATUSES = {0, 1, 2, 130}
OWN_PROCESS_EVERY = 50
RECORDS = Path(__file__).parents[1] / "docs" / "study" / "records"

ENVIRONMENTS = ("keydoor", "alfworld", "webshop")
TEXTS = (
    *("", " ", "0", "-1", "-0.0", "1e999", "1e38", "1e-320", "nan", "inf", "9" * 30, "9" * 400),
    *("9" * 5000, "1_0", "\u0663", "\u00b2", "0x10", "1.5", "1000000000", "true", "null", "none"),
    *("${oc.env:HOME}", "${", "${x}", "???", "\\", "a\\", "'", '"', "[", "]", "[a", "{a: 1}", ","),
    *(",,", "a,a", "=", "=???", "@", "~x", "+x", "a b", "\t", "\n", "\x1b[31m", "\ud800", "\0"),
    *("\U0001f600", "x" * 300, "x" * 5000, "/", "/dev/zero", "/proc/self/mem", ".", "..", "~"),
    *("openai:x", "embedded", "../embedded", "none:1", "<b>", "%s", "!!python/object:x", "-", "--"),
)
PIECES = ("0", "1", "19", "20", "-", ",", ":", "middle:", "every:", "top:", "@", "full", "all", " ")
PIECES += ("none", "all-layers", "999999999", "9" * 500, "1-3", "3-1", "0-999999999", "\u0663", "x")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 10**9, 10**15, 10**400, 1e308, -1e308, 5e-324, "", "x"),
    *("\u202e", "\0", "${oc.env:HOME}", "x" * 5000, [], {}, [[]], [1, "a", None], {"a": 1}, "1e5"),
    *("<script>", "/dev/zero", "iteration-1", "none", "full", "middle:1", "9" * 400),
)


@dataclass(frozen=True, slots=True)
class Case:
    """An input.

    Attributes:
        argv: Arguments of the command line; ``RUN`` stands for the folder of the changed run.
        change: Changes a copy of an honest run; None if there is none.
    """

    argv: tuple[str, ...]
    change: Callable[[Path], object] | None = None


def cases(seed: int) -> Iterator[Case]:
    """Generate inputs without end; equal seeds give equal ones."""
    rng = random.Random(seed)
    makers = (*(settings_case,) * 4, layers_case, seeds_case, arguments_case, *(run_case,) * 4)
    names = {env: [s.name for s in overrides.settings_of(_form(env))] for env in ENVIRONMENTS}
    while True:
        yield rng.choice(makers)(rng, names)


def settings_case(rng: random.Random, names: dict[str, list[str]]) -> Case:
    """Give one or two settings hostile values."""
    env = rng.choice(ENVIRONMENTS)
    typed = [f"{rng.choice(names[env])}={text(rng)}" for _ in range(rng.choice((1, 1, 2)))]
    return Case((rng.choice(("run", "eval")), env, *typed, "--settings"))


def layers_case(rng: random.Random, _: object) -> Case:
    """Write layers that are almost in the grammar."""
    layers = "".join(rng.choices(PIECES, k=rng.randint(1, 5)))
    if rng.random() < 0.5:
        return Case(("run", "alfworld", f"--layers={layers}", "--settings"))
    return Case(("sweep", "keydoor", f"--layers={layers}", "--dry-run", "eval.tasks=2"))


def seeds_case(rng: random.Random, _: object) -> Case:
    """Write seeds that are almost in the grammar."""
    seeds = "".join(rng.choices(PIECES, k=rng.randint(1, 3)))
    return Case(("sweep", "keydoor", f"--seeds={seeds}", "--layers=0", "--dry-run"))


def arguments_case(rng: random.Random, _: object) -> Case:
    """Give a command arguments that it cannot use."""
    command = rng.choice([command.NAME for command in cli.COMMANDS if command.NAME != "pretrain"])
    options = ("--out", "--model", "--preset", "--seed", "--jobs", "--check", "--split", "--task")
    given = [rng.choice((text(rng), rng.choice(ENVIRONMENTS))) for _ in range(rng.randint(0, 2))]
    given += [f"{rng.choice(options)}={text(rng)}"] * rng.randint(0, 1)
    # What is in order would run for minutes.
    stop = ["--settings"] if command in ("run", "eval") else []
    stop = ["--dry-run"] if command == "sweep" else stop
    return Case((command, *given, *stop))


def run_case(rng: random.Random, _: object) -> Case:
    """Read a run with a file that was changed."""
    argv = rng.choice(
        (
            *(("leaderboard", "RUN"), ("leaderboard", "--check", "RUN"), ("view", "RUN")),
            *(("leaderboard", "RUN", "--format", name) for name in ("json", "csv", "markdown")),
            *(("export", "RUN", "--merged", "OUT"), ("correlate", "RUN", "RUN")),
            *(("combine", "RUN", "RUN"), ("eval", "alfworld", "--model", "RUN", "--settings")),
            ("run", "alfworld", "--layers", "top:1@RUN", "--settings"),
        )
    )
    return Case(argv, rng.choice((*(_change_record(rng),) * 3, _change_file(rng))))


def text(rng: random.Random) -> str:
    """Choose or make a hostile text."""
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(rng.choices("${}[]'\"\\=,:@~+-. 0e\u00e9x", k=rng.randint(1, 12)))


def _change_record(rng: random.Random) -> Callable[[Path], object]:
    state = rng.randrange(2**32)

    def change(run: Path) -> None:
        own = random.Random(state)
        data = json.loads((run / "record.json").read_text())
        for _ in range(own.choice((1, 1, 3))):
            _change_value(own, data)
        (run / "record.json").write_text(json.dumps(data))

    return change


def _change_value(rng: random.Random, data: Any) -> None:  # noqa: ANN401 - JSON
    """Walk down to a random place, and replace, remove or double what is there."""
    while True:
        keys = list(data) if isinstance(data, dict) else range(len(data))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(data[key], dict | list) or not data[key] or rng.random() < 0.2:
            break
        data = data[key]
    kind = rng.random()
    if kind < 0.15:
        del data[key]
    elif kind < 0.25 and isinstance(data, list):
        data.append(copy.deepcopy(data[key]))
    elif kind < 0.4 and isinstance(data[key], int | float):
        data[key] *= rng.choice((-1, 0, 2, 1000, 10**12))
    else:
        data[key] = rng.choice(VALUES)


def _change_file(rng: random.Random) -> Callable[[Path], object]:
    name = rng.choice(("record.json", "config.yaml", "metrics.jsonl", "episodes.parquet"))
    state = rng.randrange(2**32)

    def flip(path: Path) -> None:
        own, content = random.Random(state), bytearray(path.read_bytes() if path.exists() else b"x")
        for _ in range(own.randint(1, 20)):
            content[own.randrange(len(content))] = own.randrange(256)
        path.write_bytes(content[: own.randint(1, len(content))])

    def replace(make: Callable[[Path], object]) -> Callable[[Path], object]:
        def remake(path: Path) -> None:
            path.unlink(missing_ok=True)
            make(path)

        return remake

    changes = (
        *(flip, flip, replace(lambda p: None), replace(os.mkfifo), replace(Path.mkdir)),
        replace(lambda path: path.symlink_to(path)),
        replace(lambda path: path.symlink_to("/dev/zero")),
        replace(lambda path: path.write_text("[" * 100_000)),
        replace(lambda path: path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]")),
        replace(lambda path: path.write_text('{"a": ' * 900 + "1" + "}" * 900)),
        replace(lambda path: path.write_bytes(b"\xff\x00" * 50)),
        replace(lambda path: path.touch()),
    )
    change = rng.choice(changes)
    return lambda run: change(run / name)


def play(case: Case, *, folder: Path, own_process: bool) -> str:
    """Run an input, and say what is wrong with its end; empty if nothing is."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if case.change is not None:
        # By name, for the same one everywhere.
        honest = sorted(path for path in RECORDS.iterdir() if path.is_dir())[0]
        shutil.copytree(honest, folder / "run")
        case.change(folder / "run")
    argv = [a.replace("RUN", str(folder / "run")).replace("OUT", "out") for a in case.argv]
    if own_process:
        # The system passes no such arguments.
        argv = [a.replace("\0", "").encode(errors="replace").decode() for a in argv]
    start = time.monotonic()
    status = _spawn(argv, folder) if own_process else _fork(argv, folder)
    seconds = time.monotonic() - start
    errors = (folder / "stderr").read_text(errors="replace")
    if status is None:
        return f"not over after {seconds:.0f} s"
    if "Traceback" in errors:
        return f"traceback: {errors.strip().splitlines()[-1]}"
    if status not in GOOD_STATUSES:
        return f"exit status {status} after {seconds:.1f} s: {errors[-300:]}"
    lines = [line for line in errors.splitlines() if line.startswith("layerbench: ")]
    return f"{len(lines)} lines of error" if len(lines) > 1 else ""


def _fork(argv: list[str], folder: Path) -> int | None:
    child = os.fork()
    if child == 0:
        _run_here(argv, folder)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _run_here(argv: list[str], folder: Path) -> None:
    """Run the command line in this fork, which ends here."""
    status = 99
    # The fork's own time: it begins at none.
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 1))
    os.chdir(folder)
    # Children and libraries write to the descriptors, not to sys.stderr.
    with open("stderr", "w") as errors, open("stdout", "w") as out:  # noqa: PTH123
        os.dup2(errors.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        with redirect_stderr(errors), redirect_stdout(out):
            try:
                status = cli.main(argv)
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 99
            except BaseException:  # noqa: BLE001 - whatever it is, it is to be reported
                traceback.print_exc()
    os._exit(status)


def _spawn(argv: list[str], folder: Path) -> int | None:
    with (folder / "stderr").open("w") as errors:
        try:
            return subprocess.run(
                [sys.executable, "-m", "layerbench", *argv],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                timeout=WAIT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return None


def _form(env: str) -> object:
    return sections.form_of(resolve.load(env))


def main(argv: list[str] | None = None) -> int:
    """Run the inputs and print the bad ends; 1 if there was one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--only", type=int, metavar="N", help="run the N-th input alone, from 0")
    args = parser.parse_args(argv)
    bad = 0
    # A shared folder of models and games is found by these; nothing is to be downloaded.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as scratch:
        for number, case in zip(range(args.count), cases(args.seed), strict=False):
            if args.only not in (None, number):
                continue
            own = number % OWN_PROCESS_EVERY == OWN_PROCESS_EVERY - 1
            if wrong := play(case, folder=Path(scratch) / "case", own_process=own):
                bad += 1
                typed = shlex.join(a[:80] for a in case.argv).encode(errors="backslashreplace")
                print(f"{typed.decode()}\n    {wrong}")
                repeat = f"--seed {args.seed} --count {number + 1} --only {number}"
                print(f"    python tools/generated_inputs.py {repeat}", flush=True)
    print(f"{args.count} inputs, {bad} with a bad end")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
