"""PDDL to SAS by fast-downward, once per game: translations are kept on disk.

A translation takes a fifth of a second for a small room and two seconds for a large one; reading
one back takes milliseconds.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from layerbench.envs.alfworld.planner import Planner, pddl_to_sas
from layerbench.envs.cache import cache_dir

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


def translate(*, domain: str, problem: str, planner: Planner) -> PlanningTask:
    """Translate a problem, or read the translation made the last time.

    A cached file that cannot be read is made again. Where the folder cannot be written, nothing
    is cached.

    Args:
        domain: The domain in PDDL.
        problem: The problem in PDDL.
        planner: Works out the initial state where there is no translation yet.
    """
    key = hashlib.sha256(f"{_FORMAT}\0{domain}\0{problem}".encode()).hexdigest()
    path = cache_dir() / "sas" / key[:2] / f"{key}.json.z"
    task = _read(path)
    if task is None:
        task = _translate(domain, problem, planner)
        _write(path, task)
    return task


def _translate(domain: str, problem: str, planner: Planner) -> PlanningTask:
    parsed, sas = pddl_to_sas(domain=domain, problem=problem)
    planner.load(sas)
    state = planner.atoms()
    # The problem lists what never changes and leaves out derived predicates, the state has those.
    initial = [fact for node in parsed.init if (fact := _initial_fact(node))]
    initial += [(name, *arguments) for name, arguments in state if not name.startswith("not_")]
    return PlanningTask(
        sas=sas,
        types=[(t.name, list(t.supertype_names)) for t in parsed.types],
        objects=[(o.name, o.type_name) for o in parsed.objects],
        actions=[
            (action.name, [(p.name.strip("?"), p.type_name) for p in action.parameters])
            for action in parsed.actions
        ],
        facts=[list(fact) for fact in sorted(set(initial))],
        fluents=sorted({name.removeprefix("not_") for name, _ in state}),
    )


def _initial_fact(node: Any) -> tuple[str, ...]:  # noqa: ANN401  (fast-downward has no types)
    """Read an entry of a problem's initial state as textworld does; costs and "=" are empty."""
    if hasattr(node, "fluent"):  # An assignment: textworld takes its value for a predicate.
        name = str(node.expression.value)
        is_cost = node.fluent.symbol == "total-cost" or name.isdigit()
        return () if is_cost else (name, *node.fluent.args)
    return () if node.predicate == "=" else (str(node.predicate), *node.args)


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
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
