#!/usr/bin/env python
"""Counts properties of the package that make it easy or hard to read.

    python tools/count_structure.py [--source FOLDER]

FOLDER is a source folder of any version, ``src`` unless given, so that two versions can be
compared. Imports are read as text; frames and times are measured by running layerbench.
"""

import argparse
import ast
import io
import os
import re
import resource
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).resolve().parents[1]
# A setting of training and a metric, as examples of the places to edit when one is added.
SETTINGS = ("grad_clip", "entropy_coef", "dynamic_sampling", "gradient_checkpointing")
METRICS = ("max_ratio", "clip_fraction", "max_mismatch")
BY_NAME = re.compile(r"^(layerbench(?:\.\w+)+):\w+$")

FRAMES = """
import sys, traceback, torch
from pathlib import Path
from layerbench.benchmarks import cli
backward, seen = torch.Tensor.backward, []
def watched(self, *args, **kwargs):
    if not seen:
        stack = [f for f in traceback.extract_stack() if "layerbench/" in f.filename]
        seen.append(stack)
        names = [Path(f.filename).stem + "." + f.name for f in stack]
        sys.stderr.write(f"FRAMES {len(stack)} {len({f.filename for f in stack})} "
            + " > ".join(names) + "\\n")
    return backward(self, *args, **kwargs)
torch.Tensor.backward = watched
cli.main(["run", "keydoor", "--preset", "quick", "--layer", "3", "--out", sys.argv[1],
    "train.iterations=1", "eval.tasks=1"])
"""


def main() -> int:
    """Print the counts, one a line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=ROOT / "src")
    source: Path = parser.parse_args().source.resolve()
    package = source / "layerbench"
    files = {_module(path, source): path for path in sorted(package.rglob("*.py"))}
    for name, value in _counts(package, files).items():
        sys.stdout.write(f"{name:58} {value}\n")
    frames, modules, names = _frames(source)
    sys.stdout.write(f"{'frames (modules) from the command line to backward()':58} ")
    sys.stdout.write(f"{frames} ({modules})\n    {names}\n")
    for command in (["--help"], ["run", "--help"]):
        name = f"CPU seconds of {' '.join(command)} (least of 5)"
        sys.stdout.write(f"{name:58} {min(_cpu_s(source, command) for _ in range(5)):.2f}\n")
    return 0


def _counts(package: Path, files: Mapping[str, Path]) -> dict[str, object]:
    lines = {name: len(path.read_text().splitlines()) for name, path in files.items()}
    rooms: Counter[str] = Counter()
    for name, count in lines.items():
        rooms[name.rpartition(".")[0] if files[name].name != "__init__.py" else name] += count
    benchmarks = {r: n for r, n in rooms.items() if r.startswith("layerbench.benchmarks")}
    largest = max(benchmarks, key=benchmarks.__getitem__)
    in_room = [n for n in files if n.rpartition(".")[0] == largest]
    top = [p for p in (package / "benchmarks").iterdir() if not p.name.startswith("__")]
    comments = sum(_comments(path) for path in files.values())
    total = sum(lines.values())
    return {
        "modules": len(files),
        "lines of the package": total,
        "largest module": max(lines.values()),
        "comments per 100 lines": f"{100 * comments / total:.1f}",
        "things at the top of benchmarks/": len(top),
        "largest room of benchmarks/": f"{largest.rpartition('.')[2]}: {len(in_room)} files, "
        f"{benchmarks[largest]} lines",
        "circles of imports (modules in them)": _circles(files, strings=False),
        "circles, imports by name counted": _circles(files, strings=True),
        **{f"files that name the setting {n}": len(_naming(package, n)) for n in SETTINGS},
        **{
            f"lines (files) that name the metric {n}": f"{sum(found.values())} ({len(found)})"
            for n in METRICS
            for found in [_naming(package, n)]
        },
    }


def _module(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _comments(path: Path) -> int:
    """Count lines with a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return sum(token.type == tokenize.COMMENT for token in tokens)


def _circles(files: Mapping[str, Path], *, strings: bool) -> str:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, path in files.items():
        for target in _imported(path, strings=strings):
            found = target if target in files else target.rpartition(".")[0]
            # Importing a package's module runs the package, which imports nothing of it here.
            if found in files and found != name and files[found].name != "__init__.py":
                graph.add_edge(name, found)
    circles = [c for c in nx.strongly_connected_components(graph) if len(c) > 1]
    members = "; ".join(", ".join(sorted(m.rpartition(".")[2] for m in c)) for c in circles)
    return f"{len(circles)} ({sum(map(len, circles))})" + (f": {members}" if members else "")


def _imported(path: Path, *, strings: bool) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif strings and isinstance(node, ast.Constant):
            yield from BY_NAME.findall(str(node.value))


def _naming(package: Path, name: str) -> dict[str, int]:
    """Count the lines that mention a name, by file."""
    word = re.compile(rf"\b{name}\b")
    paths = [*package.rglob("*.py"), *package.rglob("*.yaml")]
    found = {str(p): sum(map(bool, map(word.search, p.read_text().splitlines()))) for p in paths}
    return {path: count for path, count in found.items() if count}


def _environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def _frames(source: Path) -> tuple[int, int, str]:
    with tempfile.TemporaryDirectory() as out:
        done = subprocess.run(
            [sys.executable, "-c", FRAMES, f"{out}/run"],
            env=_environment(source),
            capture_output=True,
            text=True,
        )
    match = re.search(r"^FRAMES (\d+) (\d+) (.*)$", done.stderr, re.MULTILINE)
    if match is None:
        raise SystemExit(f"no frames were measured: {done.stderr}")
    return int(match[1]), int(match[2]), match[3]


def _cpu_s(source: Path, command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "layerbench", *command],
        env=_environment(source),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
