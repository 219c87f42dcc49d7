"""Many short runs from one warm process: each is forked after everything is imported.

Run as a module from the root of the repository, it reads a JSON line for each request, and answers
with one.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layerbench.benchmarks import cli
from layerbench.benchmarks.records import episodes, run_record
from tests.support import saved_model
from tests.support.folder_faults import Faults, respect_permissions

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status, negative for a signal.
        stderr: What it wrote on stderr.
    """

    status: int
    stderr: str

    @property
    def last_line(self) -> str:
        """The last line of stderr: a failure's message."""
        return self.stderr.rstrip("\n").rpartition("\n")[2]


class ForkedRuns:
    """Runs commands of layerbench in processes forked from one that has imported everything.

    Args:
        process: The process to fork from.
        model: A tiny model.
    """

    def __init__(self, process: "subprocess.Popen[str]", model: Path) -> None:
        self._process = process
        self.model = model

    def run(self, out: Path, *more: str, **fault: Any) -> Ended:  # noqa: ANN401
        """Execute a short run of KeyDoor in which every kind of file occurs.

        Args:
            out: The run's folder.
            more: Further options and settings.
            fault: Options of ``Faults`` for that folder; ``strict=True`` for permissions that
                count for root as well.
        """
        return self.run_together([(self.argv(out, *more), {**fault, "folder": str(out)})])[0]

    def run_each(self, folders: Sequence[Path], *more: str, **fault: Any) -> list[Ended]:  # noqa: ANN401
        """Execute the short run in each of several folders."""
        return [self.run(out, *more, **fault) for out in folders]

    def command(self, *argv: str, **fault: Any) -> Ended:  # noqa: ANN401
        """Execute any command."""
        return self.run_together([(list(argv), fault)])[0]

    def run_together(self, commands: Sequence[tuple[list[str], dict[str, Any]]]) -> list[Ended]:
        """Execute several commands at once, each with its fault."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(commands, default=str) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the process to fork from has ended"
        return [Ended(*pair) for pair in json.loads(answer)]

    def argv(self, out: Path, *more: str) -> list[str]:
        """The command line of the short run."""
        return [*_argv(self.model, out), *more]


@contextlib.contextmanager
def forked_runs() -> Generator[ForkedRuns]:
    """Start the process to fork from."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        subprocess.Popen(
            [sys.executable, "-m", __name__, scratch],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        ) as process,
    ):
        yield ForkedRuns(process, Path(scratch) / "model")
        assert process.stdin is not None
        process.stdin.close()


def outcome(folder: Path) -> dict[str, Any]:
    """All of a finished run that must be equal: without times, and memory."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {
        "record": run_record.read(folder / "record.json").comparable(),
        "metrics": [
            {k: v for k, v in row.items() if k not in ("play_s", "update_s")} for row in rows
        ],
        "episodes": episodes.read(folder / "episodes.parquet"),
        "weights": {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.glob("*/iteration-*/weights.safetensors"))
        },
        "config": (folder / "config.yaml").read_bytes(),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


def difference(folder: Path, straight: dict[str, Any]) -> str:
    """Name what of a finished run is not as in an undisturbed one; empty if nothing."""
    found = outcome(folder)
    if found["files"] != straight["files"]:
        return f"files {sorted({*found['files']} ^ {*straight['files']})}"
    return ", ".join(name for name in straight if found[name] != straight[name])


def _argv(model: Path, out: Path) -> list[str]:
    argv = ["run", "keydoor", "--preset", "quick", "--layer", "1"]
    argv += ["--model", str(model), "--out", str(out), "model.threads=1", "env.num_keys=1"]
    argv += ["env.workers=0", "eval.tasks=2", "train.tasks_per_iteration=1", "train.group_size=2"]
    # Checkpoints after each iteration, of which two are kept, and an evaluation after the second.
    return [
        *argv,
        "train.iterations=3",
        "train.checkpoint_every=1",
        "eval.every=2",
        "eval.temperatures=[1]",
    ]


def _has_fault(options: dict[str, Any]) -> bool:
    return any(value is not None for name, value in options.items() if name != "folder")


def _run_here(argv: list[str]) -> tuple[int, str]:
    """Execute a command without a fork, whose copied pages cost more than the run."""
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
        try:
            status = cli.main(argv)
        except Exception:  # noqa: BLE001 - as the interpreter would
            traceback.print_exc()
            status = 71
    return status, output.getvalue()


def _fork(argv: list[str], fault: dict[str, Any], stderr: Any) -> int:  # noqa: ANN401
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        os.dup2(stderr.fileno(), 2)
        os.dup2(stderr.fileno(), 1)
        if fault.pop("strict", False):
            respect_permissions()
        if _has_fault(fault):
            paths = {name: Path(fault.pop(name)) for name in ("log", "copies") if name in fault}
            Faults(Path(fault.pop("folder")), **paths, **fault).install()
        status = cli.main(argv)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        status = 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _serve(scratch: Path) -> None:
    torch.set_num_threads(1)
    # Answers go where stdout was; what a command prints must not get between them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        model = saved_model.save(scratch / "model")
        with contextlib.redirect_stdout(nowhere):
            assert cli.main(_argv(model, scratch / "warm")) == 0
    for line in sys.stdin:
        commands: list[tuple[list[str], dict[str, Any]]] = json.loads(line)
        if len(commands) == 1 and not _has_fault(commands[0][1]):
            answers.write(json.dumps([_run_here(commands[0][0])]) + "\n")
            answers.flush()
            continue
        files = [(scratch / f"{number}.txt").open("w+") for number in range(len(commands))]
        started = [
            _fork(argv, fault, file) for (argv, fault), file in zip(commands, files, strict=True)
        ]
        ended: list[tuple[int, str]] = []
        for process, file in zip(started, files, strict=True):
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            file.seek(0)
            ended.append((status, file.read()))
            file.close()
        answers.write(json.dumps(ended) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
