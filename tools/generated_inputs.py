"""Runs generated inputs through the command line, and judges how each of them ends.

    python tools/generated_inputs.py --count 1000 --seed 0

Hostile settings, layers, seeds and arguments, real starts, and changed files of honest runs, read
and gone on with. A good end is an exit status of 0, 1, 2 or 130 within ten seconds of the
processor, without a traceback, and with one line of error at most. Prints every other end with what
repeats it, a table by kind, and exits with 1 if there was a bad end. Most inputs run in forks of
one process, which spares the imports; one in fifty runs as a process of its own.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

# Only by the fork's own thread: others would be missing in it.
os.environ["OMP_NUM_THREADS"] = "1"
# A shared folder of models and games is found by this; nothing is to be downloaded.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hostile_inputs import HONEST, Case, cases
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, Qwen3ForCausalLM

from layerbench.agents.pretrained import loading
from layerbench.benchmarks import cli
from layerbench.benchmarks.html import episodes_page
from layerbench.benchmarks.leaderboard import correlation_matrix
from layerbench.benchmarks.models import combination, export
from layerbench.benchmarks.runs import launch, training_run
from layerbench.benchmarks.sweep import sweep
from layerbench.benchmarks.verify import report

# Imported here, so that no fork imports them again.
WARM = (
    *(episodes_page, correlation_matrix, combination, export, launch, training_run, report, sweep),
    *(loading, PreTrainedTokenizerFast, Qwen2ForCausalLM, Qwen3ForCausalLM),
)

LIMIT_S = 10
"""Processor time of an input, without the imports."""

WAIT_S = 300.0
"""Time by the clock, which on a busy machine is far more."""

GOOD_STATUSES = {0, 1, 2, 130}
OWN_PROCESS_EVERY = 50
RECORDS = Path(__file__).parents[1] / "docs" / "study" / "records"


@dataclass(frozen=True, slots=True)
class End:
    """How an input ended.

    Attributes:
        status: Exit status; None if it had to be ended.
        seconds: Time by the clock.
        processor_s: Time of the processor.
        wrong: What is wrong with the end; empty if nothing is.
    """

    status: int | None
    seconds: float
    processor_s: float
    wrong: str


def make_runs(scratch: Path) -> dict[str, Path]:
    """Make the honest runs whose copies are changed."""
    published = sorted(path for path in RECORDS.iterdir() if path.is_dir())[0]
    runs = {"published": published}
    for name in ("finished", "unfinished"):
        folder = scratch / name
        folder.mkdir()
        stop = folder / "run/checkpoints/iteration-000001/manifest.json"
        status, _ = _fork([*HONEST, "run"], folder, stop=stop if name == "unfinished" else None)
        if status not in (0, 130):
            raise SystemExit(f"the {name} run failed: {(folder / 'stderr').read_text()}")
        runs[name] = folder / "run"
    return runs


def play(case: Case, runs: dict[str, Path], *, folder: Path, own_process: bool) -> End:
    """Run an input, and judge its end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if case.change is not None:
        for copy in ("run", "run2"):
            shutil.copytree(runs[case.run], folder / copy)
        case.change(folder / "run")
    argv = [a.replace("RUN", str(folder / "run")).replace("OUT", "out") for a in case.argv]
    if own_process:
        # The system passes no such arguments.
        argv = [a.replace("\0", "").encode(errors="replace").decode() for a in argv]
    start = time.monotonic()
    status, processor_s = _spawn(argv, folder) if own_process else _fork(argv, folder)
    seconds = time.monotonic() - start
    return End(status, seconds, processor_s, _judge(status, folder))


def _judge(status: int | None, folder: Path) -> str:
    """Say what is wrong with an end; empty if nothing is."""
    errors = (folder / "stderr").read_text(errors="replace")
    lines = errors.splitlines()
    # What a run did not expect is one line, too, with the traceback in its log.
    is_unexpected = bool(lines) and "Error: " in lines[-1] and [*folder.rglob("error.log")] != []
    says_nothing = not errors.strip() and not (folder / "stdout").stat().st_size
    judgements = {
        "not over in time": status is None,
        "traceback": "Traceback" in errors,
        f"exit status {status}": status is not None and status not in GOOD_STATUSES,
        "unexpected": is_unexpected,
        "more than a line of error": sum(line.startswith("layerbench: ") for line in lines) > 1,
        f"exit status {status} without a word": bool(status) and says_nothing,
        "code in a file was executed": [*folder.rglob("pwned")] != [],
    }
    wrong = next((what for what, applies in judgements.items() if applies), "")
    return f"{wrong}: {' '.join(lines[-1:])}" if wrong else ""


_SHARED: list[tuple[list[Case], dict[str, Path], Path]] = []


def _share(inputs: list[Case], runs: dict[str, Path], scratch: Path) -> None:
    _SHARED.append((inputs, runs, scratch))


def _play_shared(number: int) -> End:
    inputs, runs, scratch = _SHARED[0]
    own = number % OWN_PROCESS_EVERY == OWN_PROCESS_EVERY - 1
    return play(inputs[number], runs, folder=scratch / f"of-{os.getpid()}", own_process=own)


def _fork(argv: list[str], folder: Path, stop: Path | None = None) -> tuple[int | None, float]:
    """Run in a fork; returns exit status and processor time. ``stop`` interrupts it once it is."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        _run_here(argv, folder)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return (None if code == -signal.SIGXCPU else code), used.ru_utime + used.ru_stime
        if stop is not None and stop.exists():
            os.kill(child, signal.SIGINT)
            stop = None
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None, WAIT_S


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


def _spawn(argv: list[str], folder: Path) -> tuple[int | None, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = None
    errors, out = (folder / "stderr").open("w"), (folder / "stdout").open("w")
    with errors, out, suppress(subprocess.TimeoutExpired):
        status = subprocess.run(
            [sys.executable, "-m", "layerbench", *argv],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            timeout=WAIT_S,
            check=False,
        ).returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def table(ends: dict[str, list[End]]) -> str:
    """Write a row for each kind of input."""
    columns = ("kind", "inputs", "exit statuses", "slowest s", "of the processor", "bad ends")
    rows: list[tuple[str, ...]] = [columns]
    for kind, of_kind in (*sorted(ends.items()), ("all", [e for es in ends.values() for e in es])):
        counts = sorted(Counter(str(end.status) for end in of_kind).items())
        rows.append(
            (
                *(kind, str(len(of_kind)), "  ".join(f"{code}: {n}" for code, n in counts)),
                f"{max(end.seconds for end in of_kind):.1f}",
                f"{max(end.processor_s for end in of_kind):.1f}",
                str(sum(bool(end.wrong) for end in of_kind)),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(argv: list[str] | None = None) -> int:
    """Run the inputs and print the bad ends; 1 if there was one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=1000, help="inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs")
    parser.add_argument("--only", type=int, metavar="N", help="run the N-th input alone, from 0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at the same time")
    args = parser.parse_args(argv)
    numbers = range(args.count) if args.only is None else [args.only]
    inputs = list(itertools.islice(cases(args.seed), max(numbers, default=-1) + 1))
    ends: dict[str, list[End]] = defaultdict(list)
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as scratch:
        runs = make_runs(Path(scratch))
        # What is changed cannot be sent to another process: a fork has it already.
        with ProcessPoolExecutor(args.jobs, fork, _share, (inputs, runs, Path(scratch))) as pool:
            for number, end in zip(numbers, pool.map(_play_shared, numbers), strict=True):
                case = inputs[number]
                ends[case.kind].append(end)
                if end.wrong:
                    typed = shlex.join(a[:80] for a in case.argv).encode(errors="backslashreplace")
                    print(f"{case.kind}: {typed.decode()}\n    {end.wrong}")
                    repeat = f"--seed {args.seed} --only {number}"
                    print(f"    python tools/generated_inputs.py {repeat}", flush=True)
    bad = sum(bool(end.wrong) for of_kind in ends.values() for end in of_kind)
    print(table(ends))
    print(f"{sum(map(len, ends.values()))} inputs, {bad} with a bad end")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
