"""Everything worth knowing of a GPU in a few minutes, what is most worth knowing first.

    python bench/gpu_suite.py [--minutes 9] [--out FOLDER]
    python bench/gpu_suite.py --device cpu --shapes tiny        # rehearses every part

1. Tests marked `gpu`: learning on it is learning on the CPU.
2. Short runs of ALFWorld and WebShop on the embedded model, float32 and bfloat16, beside the same
   on the CPU at the same time: scores, episodes played alike, log-probability mismatch.
3. Updates of published shapes (`gpu_update.py`): time and peak memory.
4. Rollouts of those shapes: tokens a second.
5. Two equal runs: whether they recorded the same.
6. A run that is killed and gone on with: whether it recorded what an undisturbed one did.

`FOLDER/gpu_suite.json` is written after each part, and parts that time is too short for say so.
What the parts print goes to `FOLDER/log.txt`, and their runs to a temporary folder.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import IO, Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import torch
import transformers

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.random_kills import differences, recorded  # noqa: E402

LAYERBENCH = (sys.executable, "-m", "layerbench")
ALWAYS = ["model.processes=1", "train.checkpoint_every=1", "eval.temperatures=1"]
RUNS = [
    *ALWAYS,
    *("train.iterations=3", "train.tasks_per_iteration=8", "train.group_size=4"),
    *("eval.tasks=16", "env.max_turns=16"),
]
TINY_RUNS = [
    *ALWAYS,
    *("train.iterations=2", "train.tasks_per_iteration=4", "train.group_size=4"),
    *("eval.tasks=2", "env.max_turns=16"),
]
# The least time (s) that each part is begun with.
LEAST_S = 15


@dataclass(frozen=True, slots=True)
class Suite:
    """What all parts need.

    Attributes:
        device: `cuda` or `cpu`.
        tiny: Whether it is a rehearsal.
        ends: When all must be done, by ``perf_counter``.
        out: Folder of results.
        scratch: Folder of runs.
        log: Where the parts' output goes.
    """

    device: str
    tiny: bool
    ends: float
    out: Path
    scratch: Path
    log: IO[str]

    @property
    def left_s(self) -> float:
        """Time that is left."""
        return self.ends - perf_counter()

    def begin(self, command: Sequence[str], **environment: str) -> "subprocess.Popen[bytes]":
        """Start a command in a session of its own, so that it can be killed with its children."""
        self.log.write(f"$ {' '.join(command)}\n")
        self.log.flush()
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def end(self, process: "subprocess.Popen[bytes]", most_s: float) -> int | None:
        """Wait for a command, and kill it after that time: its status is None then."""
        try:
            return process.wait(max(1.0, min(most_s, self.left_s)))
        except subprocess.TimeoutExpired:
            kill(process)
            return None

    def run_command(self, env: str, out: Path, device: str, dtype: str) -> list[str]:
        """Give the command of a short run."""
        where = ["--out", str(out), f"model.device={device}", f"model.dtype={dtype}"]
        settings = TINY_RUNS if self.tiny else RUNS
        return [*LAYERBENCH, "run", env, "--layer", "15", *where, *settings]


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a command and its children at once."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tests(suite: Suite) -> dict[str, Any]:
    """Run the tests marked `gpu`."""
    report = suite.scratch / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
    # Other versions than those the project is tested with may warn. Without types checked at run
    # time: Python 3.12 finds no parameters of modules, by which protocols are told there.
    command += ["-W", "default", "-o", "addopts=--import-mode=importlib"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}"]
    if suite.device == "cuda":
        command += ["--numprocesses", "4"]
    status = suite.end(suite.begin(command, LAYERBENCH_GPU_TESTS=suite.device), 150)
    if not report.exists():
        return {"status": status, "problem": "no report: see the log"}
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for case in cases:
        for part in case:
            found = bad if part.tag in ("failure", "error") else skipped
            if part.tag in ("failure", "error", "skipped"):
                found[case.get("name", "")] = part.get("message", "")[:300]
    passed = len(cases) - len(bad) - len(skipped)
    return {"status": status, "passed": passed, "failed": bad, "skipped": skipped}


def runs(suite: Suite) -> dict[str, Any]:
    """Train on the device and on the CPU by the same settings, and compare."""
    dtypes = ("float32",) if suite.tiny else ("float32", "bfloat16")
    kinds = [(env, dtype) for env in ("alfworld", "webshop") for dtype in dtypes]
    begun = {
        kind: suite.begin(
            suite.run_command(kind[0], suite.scratch / "-".join(kind), "cpu", kind[1])
        )
        for kind in kinds
    }
    latest = perf_counter() + 180
    found: list[dict[str, Any]] = []
    for env, dtype in kinds:
        out = suite.scratch / f"{env}-{dtype}-device"
        start = perf_counter()
        status = suite.end(suite.begin(suite.run_command(env, out, suite.device, dtype)), 60)
        wall_s = perf_counter() - start
        here: dict[str, Any] = {"env": env, "dtype": dtype, "status": status, "wall_s": wall_s}
        found.append(here | (summary(out) if status == 0 else {}))
    for row in found:
        there = suite.scratch / f"{row['env']}-{row['dtype']}"
        status = suite.end(begun[row["env"], row["dtype"]], latest - perf_counter())
        row["cpu"] = {"status": status} | (summary(there) if status == 0 else {})
        if row["status"] == status == 0:
            row["base_episodes_alike"] = alike(Path(f"{there}-device"), there)
    return {"settings": TINY_RUNS if suite.tiny else RUNS, "runs": found}


def summary(out: Path) -> dict[str, Any]:
    """Pick from a run's record what is to be compared."""
    record = json.loads((out / "record.json").read_text())
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    kept = ("success", "mismatch", "max_mismatch", "entropy", "play_s", "update_s", "decisions")
    return {
        "device": record["hardware"]["device"],
        "won": {
            f"{scored['phase']} {scored['split']}": [
                scored["count"]["successes"],
                scored["count"]["planned"],
            ]
            for scored in record["evaluations"]
        },
        "iterations": [{name: line.get(name) for name in kept} for line in metrics],
        "seconds": record["training"]["seconds"],
        "peak_memory_mb": record["peak_memory_mb"],
    }


def alike(one: Path, other: Path) -> float:
    """Give the share of the base's episodes in which two runs took the same actions."""
    played: list[Mapping[tuple[Any, ...], list[str]]] = []
    for out in (one, other):
        episodes: dict[tuple[Any, ...], list[str]] = {}
        for row in pq.read_table(out / "episodes.parquet").to_pylist():
            if row["phase"] == "base":
                key = (row["split"], row["task"], row["episode"])
                episodes.setdefault(key, []).append(row["action"])
        played.append(episodes)
    return sum(played[1].get(key) == actions for key, actions in played[0].items()) / len(played[0])


def shapes(suite: Suite, what: str) -> dict[str, Any]:
    """Measure updates or rollouts of published shapes."""
    models = ["tiny"] if suite.tiny else ["Qwen2.5-1.5B-Instruct", "Qwen3-4B", "Qwen3-8B"]
    out = suite.out / f"gpu_{what}.json"
    # An equal share of the time for each model; the parts after this one need some, too.
    kept_s, most_s = (90, 90) if what == "updates" else (45, 60)
    most_s = 30 if suite.tiny else most_s
    for number, model in enumerate(models):
        share_s = min(most_s, (suite.left_s - kept_s) / (len(models) - number))
        if share_s < LEAST_S:
            break
        command = [sys.executable, "bench/gpu_update.py", "--device", suite.device]
        command += ["--models", model, "--what", what, "--out", str(out)]
        command += ["--seconds", str(share_s - LEAST_S)]
        command += ["--sequences", "4", "--tokens", "64"] if suite.tiny else []
        suite.end(suite.begin(command), share_s)
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {"models": {}}
    missing = [model for model in models if model not in found["models"]]
    return {**found, "not_reached": missing}


def equal_runs(suite: Suite) -> dict[str, Any]:
    """Make the same run twice at the same time."""
    outs = [suite.scratch / name for name in ("undisturbed", "again")]
    processes = [suite.begin(equal_command(suite, out)) for out in outs]
    statuses = [suite.end(process, 90) for process in processes]
    if any(statuses) or None in statuses:
        return {"statuses": statuses}
    return {"statuses": statuses, **compared(*outs)}


def compared(one: Path, other: Path) -> dict[str, Any]:
    """Say whether two runs have recorded the same, but for times and memory."""
    found = differences(recorded(one), recorded(other))
    return {"equal": not found, "differences": found[:20]}


def equal_command(suite: Suite, out: Path) -> list[str]:
    """Give the command of the runs that are to be equal."""
    dtype = "float32" if suite.device == "cpu" else "bfloat16"
    return suite.run_command("alfworld", out, suite.device, dtype)


def killed_run(suite: Suite) -> dict[str, Any]:
    """Kill a run in training, go on with it, and compare with the undisturbed one."""
    out, undisturbed = suite.scratch / "killed", suite.scratch / "undisturbed"
    process = suite.begin(equal_command(suite, out))
    metrics = out / "metrics.jsonl"
    while process.poll() is None and suite.left_s > LEAST_S:
        if metrics.exists() and metrics.read_text().count("\n"):
            break
        sleep(0.05)
    was_alive = process.poll() is None
    kill(process) if was_alive else None
    done = metrics.read_text().count("\n") if metrics.exists() else 0
    status = suite.end(suite.begin(equal_command(suite, out)), 90)
    found: dict[str, Any] = {"killed": was_alive, "after_iterations": done, "status": status}
    if status == 0 and (undisturbed / "record.json").exists():
        found |= compared(undisturbed, out)
    return found


PARTS: Mapping[str, Callable[[Suite], dict[str, Any]]] = {
    "tests": tests,
    "runs": runs,
    "updates": lambda suite: shapes(suite, "updates"),
    "rollouts": lambda suite: shapes(suite, "rollout"),
    "equal_runs": equal_runs,
    "killed_run": killed_run,
}


def main() -> None:
    """Run the parts in order, and write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=9.0, help="for everything")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--shapes", default="published", choices=("published", "tiny"))
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "gpu")
    asked = parser.parse_args()
    begun = perf_counter()
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device: --device cpu --shapes tiny rehearses")
    asked.out.mkdir(parents=True, exist_ok=True)
    on_gpu = asked.device == "cuda"
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "rehearsal": not on_gpu or asked.shapes == "tiny",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    with (
        tempfile.TemporaryDirectory(prefix="gpu-suite-") as scratch,
        (asked.out / "log.txt").open("w") as log,
    ):
        ends = begun + 60 * asked.minutes
        suite = Suite(asked.device, asked.shapes == "tiny", ends, asked.out, Path(scratch), log)
        for name, part in PARTS.items():
            start = perf_counter()
            try:
                measured = (
                    part(suite) if suite.left_s > LEAST_S else {"problem": "no time was left"}
                )
            except Exception as error:  # noqa: BLE001 - the other parts are as good without it
                measured = {"problem": f"{type(error).__name__}: {error}"[:300]}
            found[name] = {"seconds": round(perf_counter() - start, 1), **measured}
            (asked.out / "gpu_suite.json").write_text(json.dumps(found, indent=1) + "\n")
            sys.stdout.write(f"{name}: {json.dumps(found[name])[:400]}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
