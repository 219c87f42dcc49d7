"""Translates games from PDDL to SAS by fast-downward, and caches the translations on disk.

A translation takes 0.2 s for a small room and 2 s for a large one; reading one back takes
milliseconds.
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

# A part of the cache key: another format makes old files unused.
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlanningTask:
    """A translated problem.

    Attributes:
        sas: The task in SAS, unpruned.
        types: Name and supertypes of each type.
        objects: Name and type of each object.
        actions: Name and parameters of each action; a parameter is a name and a type.
        facts: The initial facts: a predicate, then the names of its arguments.
        fluents: The predicates that actions can change.
    """

    sas: str
    types: list[tuple[str, list[str]]]
    objects: list[tuple[str, str]]
    actions: list[tuple[str, list[tuple[str, str]]]]
    facts: list[list[str]]
    fluents: list[str]


def translate(*, domain: str, problem: str, planner: Planner) -> PlanningTask:
    """Translate a problem, or read its translation from the cache.

    A damaged file is replaced. If the cache cannot be written, nothing is cached.

    Args:
        domain: The domain in PDDL.
        problem: The problem in PDDL.
        planner: Used to compute the initial state of a new translation.
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
    # The problem lists the facts that never change, the state those that do and derived ones.
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
    """Read an entry of a problem's initial state as textworld does; () for costs and "="."""
    if hasattr(node, "fluent"):  # An assignment: textworld takes its value as a predicate.
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
            objects=[(name, of_type) for name, of_type in data["objects"]],
            actions=[(name, [(p, of_type) for p, of_type in ps]) for name, ps in data["actions"]],
            facts=data["facts"],
            fluents=data["fluents"],
        )
    return None


def _write(path: Path, task: PlanningTask) -> None:
    data = zlib.compress(json.dumps(asdict(task), separators=(",", ":")).encode())
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: other processes may read or write the same file.
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
