"""Inputs of ``generated_inputs.py``: hostile arguments, and honest runs with changed files."""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.benchmarks import cli
from layerbench.benchmarks.config import overrides, sections
from layerbench.benchmarks.runs import resolve

ENVIRONMENTS = ("keydoor", "alfworld", "webshop")
TEXTS = (
    *("", " ", "0", "-1", "-0.0", "1e999", "1e38", "1e-320", "nan", "inf", "9" * 30, "9" * 400),
    *("9" * 5000, "1_0", "\u0663", "\u00b2", "0x10", "1.5", "1000000000", "true", "null", "none"),
    *("${oc.env:HOME}", "${", "${x}", "???", "\\", "a\\", "'", '"', "[", "]", "[a", "{a: 1}", ","),
    *(",,", "a,a", "=", "=???", "@", "~x", "+x", "a b", "\t", "\n", "\x1b[31m", "\ud800", "\0"),
    *("\U0001f600", "x" * 300, "x" * 5000, "/", "/dev/zero", "/proc/self/mem", ".", "..", "~"),
    *("openai:x", "embedded", "../embedded", "none:1", "<b>", "%s", "!!python/object:x", "-", "--"),
)
PIECES = (
    *("0", "1", "19", "20", "-", ",", ":", "middle:", "every:", "top:", "@", "full", "all", " "),
    *("none", "all-layers", "999999999", "9" * 500, "1-3", "3-1", "0-999999999", "\u0663", "x"),
)
# Of these many are in order; none of them makes a run of the smallest budget long.
MILD = ("0", "1", "2", "3", "0.5", "1e-3", "1e-9", "1e-30", "1e6", "-1", "true", "false", "null")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, -0.0, 10**9, 10**15, 10**400, 1e308, -1e308, 5e-324, "", "x"),
    *("\u202e", "\0", "${oc.env:HOME}", "x" * 5000, [], {}, [[]], [1, "a", None], {"a": 1}, "1e5"),
    *("<script>", "/dev/zero", "iteration-1", "none", "full", "middle:1", "9" * 400, "a\nb|c"),
    *("../../etc/passwd", "/etc/passwd", "https://x.invalid/", float("nan"), float("-inf"), 2**63),
    *("\U0001f600", "RUN", "'; ls #", [0] * 100_000),
)
SMALLEST = (
    *("train.iterations=1", "train.tasks=1", "train.tasks_per_iteration=1", "train.group_size=2"),
    *("eval.tasks=1", "env.max_turns=3"),
)
HONEST = (
    *("run", "keydoor", "--layer", "1", "--preset", "quick"),
    *("train.iterations=2", *SMALLEST[1:], "--out"),
)
"""Makes an honest run, with the folder after it."""
STEP = "checkpoints/iteration-000001"
FILES = (
    *("record.json", "config.yaml", "metrics.jsonl", "episodes.parquet", "state.json", ".lock"),
    *("evaluations/base-test-t1.0.json", "evaluations/base-test-t1.0.parquet"),
    *("evaluations", "checkpoints"),
    *(STEP, f"{STEP}/manifest.json", f"{STEP}/state.json", f"{STEP}/weights.safetensors"),
    *(f"{STEP}/optimizer.safetensors", f"{STEP}/timings.json"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """An input.

    Attributes:
        kind: Kind of input, for the table.
        argv: Arguments of the command line; ``RUN`` stands for the folder of the changed run.
        run: The honest run that is changed: ``published``, ``finished``, ``unfinished`` or none.
        change: Changes a copy of the run.
    """

    kind: str
    argv: tuple[str, ...]
    run: str = ""
    change: Callable[[Path], object] | None = None


def cases(seed: int) -> Iterator[Case]:
    """Generate inputs without end; equal seeds give equal ones."""
    rng = random.Random(seed)
    makers = (*(settings_case,) * 4, *(start_case,) * 2, *(record_case,) * 4, *(file_case,) * 4)
    makers += (layers_case, seeds_case, arguments_case, config_case, resume_case, resume_case)
    names = {env: [s.name for s in overrides.settings_of(_form(env))] for env in ENVIRONMENTS}
    while True:
        yield rng.choice(makers)(rng, names)


def settings_case(rng: random.Random, names: dict[str, list[str]]) -> Case:
    """Give one or two settings hostile values."""
    env = rng.choice(ENVIRONMENTS)
    typed = [f"{rng.choice(names[env])}={text(rng)}" for _ in range(rng.choice((1, 1, 2)))]
    return Case("settings", (rng.choice(("run", "eval")), env, *typed, "--settings"))


def start_case(rng: random.Random, names: dict[str, list[str]]) -> Case:
    """Start a run of the smallest budget with a value that may well be in order."""
    typed: dict[str, str] = dict(item.split("=") for item in SMALLEST)
    # A run that plays more is slow by right.
    sizes = {"train.iterations", "train.tasks", "eval.tasks", "eval.episodes_per_task"}
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(names["keydoor"])
        typed[name] = rng.choice(("0", "1", "2")) if name in sizes else mild_text(rng)
    more = ("--layer", "1", "--preset", "quick", "--out", "OUT")
    command = rng.choice(("run", "run", "run", "eval"))
    more = more if command == "run" else more[2:]
    return Case("starts", (command, "keydoor", *more, *map("=".join, typed.items())))


def layers_case(rng: random.Random, _: object) -> Case:
    """Write layers that are almost in the grammar."""
    layers = "".join(rng.choices(PIECES, k=rng.randint(1, 5)))
    budget = ("--preset", "quick", *SMALLEST)
    return Case(
        "layers",
        rng.choice(
            (
                ("run", "alfworld", f"--layers={layers}", "--settings"),
                ("run", "keydoor", f"--layers={layers}", *budget, "--out", "OUT"),
                ("run", "keydoor", "--layers=0", f"train.lr_scale={layers}:1", *budget),
                ("sweep", "keydoor", f"--layers={layers}", "--dry-run", "eval.tasks=2"),
            )
        ),
    )


def seeds_case(rng: random.Random, _: object) -> Case:
    """Write seeds that are almost in the grammar."""
    seeds = "".join(rng.choices(PIECES, k=rng.randint(1, 3)))
    return Case("seeds", ("sweep", "keydoor", f"--seeds={seeds}", "--layers=0", "--dry-run"))


def arguments_case(rng: random.Random, _: object) -> Case:
    """Give a command arguments that it cannot use."""
    command = rng.choice([command.NAME for command in cli.COMMANDS if command.NAME != "pretrain"])
    options = ("--out", "--model", "--preset", "--seed", "--jobs", "--check", "--split", "--task")
    given = [rng.choice((text(rng), rng.choice(ENVIRONMENTS))) for _ in range(rng.randint(0, 2))]
    given += [f"{rng.choice(options)}={text(rng)}"] * rng.randint(0, 1)
    # What is in order would run for minutes.
    stop = ["--settings"] if command in ("run", "eval") else []
    stop = ["--dry-run"] if command == "sweep" else stop
    return Case("arguments", (command, *given, *stop))


def record_case(rng: random.Random, _: object) -> Case:
    """Read a run with changed values in its record."""
    run = rng.choice(("published", "finished"))
    return Case("records", _reader(rng), run, _change_record(rng))


def file_case(rng: random.Random, _: object) -> Case:
    """Read a run with a changed file."""
    return Case("files", _reader(rng), "finished", _change_file(rng))


def resume_case(rng: random.Random, _: object) -> Case:
    """Go on with an unfinished run, one of whose files was changed."""
    return Case("resume", (*HONEST, "RUN"), "unfinished", _change_file(rng))


def config_case(rng: random.Random, _: object) -> Case:
    """Start with the settings of a file that was changed."""
    command = rng.choice(("run", "eval"))
    argv = (command, "keydoor", "--config", "RUN/config.yaml", "--settings")
    if rng.random() < 0.4:
        return Case("config", argv, "finished", _change_file(rng, "config.yaml"))
    state, value, where = rng.randrange(2**32), text(rng), rng.random()

    def change(run: Path) -> None:
        lines = (run / "config.yaml").read_text().splitlines()
        line = random.Random(state).randrange(len(lines))
        key = lines[line].partition(":")[0]
        lines[line] = f"{key}: {value}" if where < 0.8 else value
        (run / "config.yaml").write_text("\n".join(lines), errors="replace")

    return Case("config", argv, "finished", change)


def text(rng: random.Random) -> str:
    """Choose or make a hostile text."""
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(rng.choices("${}[]'\"\\=,:@~+-. 0e\u00e9x", k=rng.randint(1, 12)))


def mild_text(rng: random.Random) -> str:
    """Choose a text that is often a value of some setting."""
    return rng.choice(MILD) if rng.random() < 0.8 else text(rng)


def _form(env: str) -> object:
    return sections.form_of(resolve.load(env))


def _reader(rng: random.Random) -> tuple[str, ...]:
    """Choose a command that reads a run."""
    formats = (("leaderboard", "RUN", "--format", name) for name in ("json", "csv", "markdown"))
    return rng.choice(
        (
            *(("leaderboard", "RUN"), ("leaderboard", "RUN", "--out", "OUT"), *formats),
            *(("leaderboard", "--check", "RUN"),) * 4,
            *(("view", "RUN"), ("view", "RUN", "--out", "OUT"), ("correlate", "RUN", "RUN")),
            *(("export", "RUN", "--merged", "OUT"), ("export", "RUN", "--delta", "OUT")),
            *(("combine", "RUN", "RUN"), ("combine", "RUN", "RUN/../run2")),
            ("eval", "keydoor", "--preset", "quick", "--model", "RUN", "eval.tasks=1"),
            ("eval", "alfworld", "--model", "RUN", "--settings"),
            ("run", "keydoor", "--layers", "top:1@RUN", "--settings"),
            ("sweep", "keydoor", "--layers", "top:1@RUN", "--dry-run"),
        )
    )


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
    elif kind < 0.5:
        data[key] = str(data[key])
    else:
        data[key] = rng.choice(VALUES)


def _change_file(rng: random.Random, name: str = "") -> Callable[[Path], object]:
    name = name or rng.choice(FILES)
    state = rng.randrange(2**32)

    def flip(path: Path) -> None:
        if path.is_dir():
            path = sorted(path.rglob("*"))[0]
        if path.is_dir():
            return
        own, content = random.Random(state), bytearray(path.read_bytes() if path.exists() else b"")
        content += b"x" * (not content)
        for _ in range(own.randint(1, 20)):
            content[own.randrange(len(content))] = own.randrange(256)
        cut = own.random() < 0.5
        path.write_bytes(content[: own.randint(1, len(content)) if cut else None])

    def replace(make: Callable[[Path], object]) -> Callable[[Path], object]:
        def remake(path: Path) -> None:
            if path.is_dir():
                path.rename(path.with_name("moved"))
            path.unlink(missing_ok=True)
            make(path)

        return remake

    changes = (
        *(flip, flip, flip, replace(lambda p: None), replace(os.mkfifo), replace(Path.mkdir)),
        replace(lambda path: path.symlink_to(path)),
        replace(lambda path: path.symlink_to("/dev/zero")),
        replace(lambda path: path.symlink_to("/nowhere")),
        replace(lambda path: path.write_text("[" * 100_000)),
        replace(lambda path: path.write_text("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]")),
        replace(lambda path: path.write_text('{"a": ' * 900 + "1" + "}" * 900)),
        replace(lambda path: path.write_text("!!python/object/apply:os.system [touch pwned]\n")),
        replace(lambda path: path.write_bytes(b"\xff\x00" * 50)),
        replace(lambda path: path.write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")),
        replace(lambda path: path.write_text("null")),
        replace(_sparse),
        replace(lambda path: path.touch()),
    )
    chosen = rng.choice(changes)

    def change(run: Path) -> None:
        # A finished run has no evaluations of its own any more.
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        chosen(run / name)

    return change


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**31)
