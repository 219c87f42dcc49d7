"""PDDL to SAS by fast-downward, once per game: translations are kept on disk.

A translation takes a fifth of a second for a small room and two seconds for a large one; reading
one back takes milliseconds.
"""

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fast_downward
from fast_downward.translate import pddl

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlanningTask:
    """A problem in the form that fast-downward's engine loads.

    Attributes:
        sas: The task in SAS, nothing pruned.
        types: Name and supertypes of each type.
        objects: Name and type of each object.
        actions: Name and parameters of each action; a parameter is a name and a type.
        facts: What holds at the start: a predicate, then the names of its arguments.
        fluents: The predicates that actions can change.
    """

    sas: str
    types: list[tuple[str, list[str]]]
    objects: list[tuple[str, str]]
    actions: list[tuple[str, list[tuple[str, str]]]]
    facts: list[list[str]]
    fluents: list[str]


def cache_dir() -> Path:
    """Return the folder for what can be computed again: ``$LAYERBENCH_CACHE`` or a default."""
    return Path(os.environ.get("LAYERBENCH_CACHE") or Path.home() / ".cache" / "layerbench")


def translate(*, domain: str, problem: str, planner: Any) -> PlanningTask:
    """Translate a problem, or read the translation made the last time.

    A cached file that cannot be read is made again. Where the folder cannot be written, nothing
    is cached.

    Args:
        domain: The domain in PDDL.
        problem: The problem in PDDL.
        planner: fast-downward's library; a task is loaded into it if there is no translation.
    """
    key = hashlib.sha256(f"{_FORMAT}\0{domain}\0{problem}".encode()).hexdigest()
    path = cache_dir() / "sas" / key[:2] / f"{key}.json.z"
    task = _read(path)
    if task is None:
        task = _translate(domain, problem, planner)
        _write(path, task)
    return task


def translate_for_replanning(*, domain: str, problem: str) -> str:
    """Translate a problem to SAS for the planner: pruned, so fit for search only."""
    with _own_argv():
        _, sas = fast_downward.pddl2sas(domain, problem, optimize=True)
    return str(sas)


def parse_atom(text: str) -> tuple[str, list[str]]:
    """Split fast-downward's name of an atom.

    >>> parse_atom("Atom holds(agent1, apple)")
    ('holds', ['agent1', 'apple'])
    >>> parse_atom("NegatedAtom holdsany(agent1)")
    ('not_holdsany', ['agent1'])
    """
    kind, rest = text.split(" ", 1)
    predicate, arguments = rest.rstrip(")").split("(", 1)
    prefix = "not_" if kind == "NegatedAtom" else ""
    return prefix + predicate, [name for name in arguments.split(", ") if name]


def _translate(domain: str, problem: str, planner: Any) -> PlanningTask:
    with _own_argv():
        parsed: Any
        parsed, sas = fast_downward.pddl2sas(domain, problem)
    planner.load_sas(sas.encode())
    atoms = (fast_downward.Atom * planner.get_state_size())()
    planner.get_state(atoms)
    # The first list leaves out derived predicates, the second everything that never changes.
    state = [parse_atom(atom.name) for atom in atoms]
    initial = [fact for fact in map(_initial_fact, parsed.init) if fact]
    initial += [[name, *arguments] for name, arguments in state if not name.startswith("not_")]
    return PlanningTask(
        sas=str(sas),
        types=[(t.name, list(t.supertype_names)) for t in parsed.types],
        objects=[(o.name, o.type_name) for o in parsed.objects],
        actions=[
            (action.name, [(p.name.strip("?"), p.type_name) for p in action.parameters])
            for action in parsed.actions
        ],
        facts=sorted({tuple(fact): fact for fact in initial}.values()),
        fluents=sorted({name.removeprefix("not_") for name, _ in state}),
    )


def _initial_fact(node: Any) -> list[str] | None:
    """Read an entry of a problem's initial state as textworld does; None for costs, equality."""
    if isinstance(node, pddl.conditions.Atom):
        return None if node.predicate == "=" else [str(node.predicate), *node.args]
    if isinstance(node, pddl.f_expression.Assign):
        name = str(node.expression.value)
        if node.fluent.symbol == "total-cost" or name.isdigit():
            return None
        return [name, *node.fluent.args]
    return None


def _read(path: Path) -> PlanningTask | None:
    with contextlib.suppress(OSError, zlib.error, ValueError, KeyError, TypeError):
        data: Any = json.loads(zlib.decompress(path.read_bytes()))
        return PlanningTask(
            sas=data["sas"],
            types=[(name, parents) for name, parents in data["types"]],
            objects=[(name, kind) for name, kind in data["objects"]],
            actions=[(name, [(p, kind) for p, kind in parts]) for name, parts in data["actions"]],
            facts=data["facts"],
            fluents=data["fluents"],
        )
    return None


def _write(path: Path, task: PlanningTask) -> None:
    data = zlib.compress(json.dumps(asdict(task), separators=(",", ":")).encode())
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with io.FileIO(descriptor, "w") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _own_argv() -> Iterator[None]:
    # fast-downward's translator overwrites sys.argv to set its options.
    kept = sys.argv
    try:
        yield
    finally:
        sys.argv = kept
