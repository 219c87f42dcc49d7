#!/usr/bin/env python
"""Compares the output of two versions of layerbench byte for byte.

    git worktree add ../before main
    python tools/compare_outputs.py capture before.d --source ../before/src
    python tools/compare_outputs.py capture after.d
    python tools/compare_outputs.py compare before.d after.d

``capture`` runs layerbench from a source folder: help texts, settings, mistakes, quick runs of
every environment (full, one layer, LoRA), evaluations, and tables of these and of the published
records in every format. It keeps what was printed and written, with times, memory and the code's
revision left out; commit first, since records of uncommitted code say so. Five minutes on two
cores; a capture that was stopped goes on.
"""

import argparse
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    *("run", "eval", "combine", "sweep", "envs", "play"),
    *("view", "leaderboard", "correlate", "export", "models", "pretrain"),
)
# Fields that differ between two runs of the same settings.
VARYING = frozenset(
    {
        *("started", "seconds", "peak_memory_mb", "revision", "dirty"),
        *("play_s", "update_s", "optimizer.safetensors"),
    }
)
TIMES = re.compile(
    r"\d+(\.\d+)? s\b|\d+:\d\d:\d\d|[\d.]+ MB"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:[\d:+]+)?|Loading weights: .*"
)

HELP = {
    "help": ["--help"],
    **{f"help-{name}": [name, "--help"] for name in COMMANDS},
    "help-pretrain-alfworld": ["pretrain", "alfworld", "--help"],
    "help-pretrain-webshop": ["pretrain", "webshop", "--help"],
    "version": ["--version"],
    "envs": ["envs"],
    **{
        f"settings-{env}-{preset}-{algorithm}": [
            *("run", env, "--preset", preset, "--algorithm", algorithm, "--settings"),
        ]
        for env in ("alfworld", "webshop", "keydoor")
        for preset in ("quick", "default", "small", "paper")
        for algorithm in ("gigpo", "grpo", "dr_grpo")
    },
}
MISTAKES = {
    "no-command": [],
    "unknown-command": ["rnu", "alfworld"],
    "unknown-option": ["run", "alfworld", "--layr", "3"],
    "unknown-env": ["run", "alfwrld"],
    "unknown-setting": ["run", "alfworld", "train.iteration=3"],
    "unknown-preset": ["run", "alfworld", "--preset", "quik"],
    "unknown-algorithm": ["run", "alfworld", "--algorithm", "gipgo"],
    "twice": ["run", "alfworld", "seed=1", "seed=2"],
    "twice-option": ["run", "alfworld", "--seed", "1", "--seed", "2"],
    "range": ["run", "alfworld", "train.group_size=1"],
    "excluded": ["run", "alfworld", "train.learning_rate=0"],
    "type": ["run", "alfworld", "train.iterations=many"],
    "choice": ["run", "alfworld", "model.backend=vlm"],
    "layer": ["run", "keydoor", "--preset", "quick", "--layer", "99"],
    "layers": ["run", "keydoor", "--preset", "quick", "--layers", "a-b"],
    "no-sweep": ["run", "alfworld", "--layers", "top:3@nowhere"],
    "no-model": ["eval", "alfworld", "--model", "./nowhere"],
    "eval-layers": ["eval", "alfworld", "layers=3"],
    "sweep-layers": ["sweep", "alfworld", "layers=3"],
    "sweep-jobs": ["sweep", "alfworld", "--jobs", "0"],
    "sweep-launcher": ["sweep", "keydoor", "--launcher", "jobli"],
    "resume": ["run", "keydoor", "--resume"],
    "leaderboard-none": ["leaderboard"],
    "leaderboard-format": ["leaderboard", "docs/study/records", "--format", "htm"],
    "leaderboard-nowhere": ["leaderboard", "nowhere"],
    "combine-one": ["combine", "docs/study/records"],
    "view-nothing": ["view", "nowhere"],
    "correlate-one": ["correlate", "docs/study/lora"],
    "export-nothing": ["export", "nowhere", "--merged", "out"],
    "models-unknown": ["models", "fetch", "smollm3"],
    "pretrain-unknown": ["pretrain", "alfwold"],
    "pretrain-range": ["pretrain", "alfworld", "--scale", "2"],
    "endpoint-run": ["run", "alfworld", "--model", "openai:x"],
    "dry-run": ["eval", "alfworld", "--dry-run"],
    "play-task": ["play", "keydoor", "--task", "0"],
}
QUICK = ("--preset", "quick", "env.workers=0")
SHORT = ("train.iterations=3", "train.checkpoint_every=2", "eval.tasks=12")
RUNS = {
    f"{env}-{name}": ["run", env, *QUICK, *SHORT, *extra]
    for env in ("keydoor", "alfworld", "webshop")
    for name, extra in {
        "full": ["--layers", "full", "train.kl_coef=0.01", "eval.every=1"],
        "layer": ["--layer", "3"],
        "other": ["--layer", "5"],
        "lora": ["--layer", "3", "train.lora_rank=2", "--seed", "1"],
        "base": ["--layers", "none"],
    }.items()
}
STUDY = "docs/study/records"
AFTER_RUNS = {
    "run-again": RUNS["keydoor-layer"],
    "combine": ["combine", "@keydoor-layer3-", "@keydoor-layer5-"],
    "view": ["view", "@keydoor-layer3-", "--out", "{out}/view.html"],
    "export-merged": ["export", "@keydoor-layer3-", "--merged", "{out}/merged"],
    "export-delta": ["export", "@keydoor-layer3-", "--delta", "{out}/delta"],
    "eval-delta": ["eval", "keydoor", *QUICK, "eval.tasks=12", "--model", "{out}/delta"],
    "eval-run": ["eval", "keydoor", *QUICK, "eval.tasks=12", "--model", "@keydoor-layer3-"],
    "check": ["leaderboard", "--check", "@alfworld-layer3-"],
    "check-study": [
        "leaderboard",
        "--check",
        f"{STUDY}/alfworld-embedded-full-gigpo-default-seed0*",
    ],
    "sweep-dry": [
        "sweep",
        "keydoor",
        *QUICK,
        *SHORT,
        "--layers",
        "3,5",
        "--seeds",
        "1",
        "--dry-run",
    ],
    "eval-dry": ["eval", "keydoor", *QUICK, "--model", "openai:m", "--dry-run"],
    "correlate": ["correlate", STUDY, "docs/study/webshop"],
    "top": ["run", "alfworld", "--layers", f"top:3@{STUDY}", "--settings"],
    "scales": ["run", "alfworld", "--layers", "3,15", f"train.lr_scale=@{STUDY}", "--settings"],
    **{
        f"leaderboard-{name}-{form}": ["leaderboard", *roots, "--format", form, *out]
        for name, roots in {"study": ["docs/study"], "runs": ["{out}/runs"]}.items()
        for form in ("terminal", "markdown", "csv", "json", "html")
        for out in [["--out", f"{{out}}/{name}.html"] if form == "html" else []]
    },
}


def main() -> int:
    """Capture outputs, or compare two captures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    commands = parser.add_subparsers(dest="command", required=True)
    taken = commands.add_parser("capture", help="run the commands, and keep what they give")
    taken.add_argument("out", type=Path)
    taken.add_argument("--source", type=Path, default=ROOT / "src", help="folder of the package")
    compared = commands.add_parser("compare", help="list the files in which two captures differ")
    compared.add_argument("before", type=Path)
    compared.add_argument("after", type=Path)
    args = parser.parse_args()
    if args.command == "capture":
        return capture(args.out.resolve(), args.source.resolve())
    return compare(args.before, args.after)


def capture(out: Path, source: Path) -> int:
    """Run all commands without a result yet, two at a time, and write their outputs."""
    (out / "kept").mkdir(parents=True, exist_ok=True)
    work = out / "work"
    work.mkdir(exist_ok=True)
    if not (work / "docs").exists():
        (work / "docs").symlink_to(ROOT / "docs")
    for stage in (HELP, MISTAKES, RUNS):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda item: _run(*item, out, source), stage.items()))
    for name, command in AFTER_RUNS.items():
        _run(name, command, out, source)
    _keep_files(work, out / "kept" / "files", source)
    return 0


def compare(before: Path, after: Path) -> int:
    """Print which files of two captures differ; the status is 1 if any does."""
    names = sorted({p.relative_to(d / "kept") for d in (before, after) for p in _files(d / "kept")})
    differ = [n for n in names if _bytes(before / "kept" / n) != _bytes(after / "kept" / n)]
    for name in differ:
        sys.stdout.write(f"differs: {name}\n")
    sys.stdout.write(f"{len(names)} files compared, {len(differ)} differ\n")
    return 1 if differ or not names else 0


def _run(name: str, command: list[str], out: Path, source: Path) -> None:
    kept = out / "kept" / f"{name}.txt"
    if kept.exists():
        return
    work = out / "work"
    typed = [_named(word, work) for word in command]
    if command[:1] in (["run"], ["eval"]) and "--settings" not in command:
        typed.append("run_root=runs")
    done = subprocess.run(
        [sys.executable, "-m", "layerbench", *typed],
        cwd=work,
        env=_environment(source),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    text = f"status {done.returncode}\n{done.stdout}\n--- stderr\n{done.stderr}"
    kept.write_text(
        _without_varying(text.replace(str(ROOT), "ROOT").replace(str(out), "OUT"), source)
    )
    sys.stderr.write(f"{name}: status {done.returncode}\n")


def _named(word: str, work: Path) -> str:
    """Expand a word of a command: a run's folder, the output folder, or a glob."""
    if word.startswith("@"):
        env, _, rest = word[1:].partition("-")
        found = sorted(p for p in (work / "runs").glob(f"{env}-*-{rest}*") if "lora" not in p.name)
        found = [p for p in found if json.loads((p / "record.json").read_text())["seed"] == 0]
        return str(found[0].relative_to(work)) + ("/record.json" if env == "alfworld" else "")
    if word.endswith("*"):
        return str(next(iter(sorted(work.glob(word)))).relative_to(work) / "record.json")
    return word.replace("{out}/", "")


def _environment(source: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(source),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


def _keep_files(work: Path, kept: Path, source: Path) -> None:
    """Copy the files that commands wrote, without varying fields; tensors and tables as hashes."""
    shutil.rmtree(kept, ignore_errors=True)
    for path in _files(work):
        name = path.relative_to(work)
        if name.parts[0] == "docs" or path.name in (".lock", "run.log"):
            continue
        target = kept / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json" and path.name != "tokenizer.json":
            target.write_text(json.dumps(_plain(json.loads(path.read_text())), indent=1))
        elif path.suffix == ".jsonl":
            lines = [_plain(json.loads(line)) for line in path.read_text().splitlines()]
            target.write_text("\n".join(map(json.dumps, lines)))
        elif path.suffix in (".html", ".md", ".yaml"):
            target.write_text(_without_varying(path.read_text(), source))
        elif path.suffix == ".safetensors":
            # The generators' states are those of the process; a run draws nothing from them.
            tensors = {n: t for n, t in load_file(path).items() if not n.startswith("rng.")}
            digests = {n: hashlib.sha256(t.tobytes()).hexdigest() for n, t in tensors.items()}
            target.write_text(json.dumps(digests, sort_keys=True, indent=1))
        else:
            target.write_text(hashlib.sha256(path.read_bytes()).hexdigest())


def _without_varying(text: str, source: Path) -> str:
    """Leave out the code's revision and all times."""
    return re.sub(rf"\b{_revision(source)[:8]}[0-9a-f]*", "CODE", TIMES.sub("TIME", text))


@functools.cache
def _revision(source: Path) -> str:
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if name not in VARYING}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
