"""A typed interface to fast-downward's library, which holds and changes the game state."""

import contextlib
import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import fast_downward  # pyright: ignore[reportMissingTypeStubs]


@dataclass(frozen=True, slots=True)
class GroundAction:
    """An action with its arguments.

    Attributes:
        action: Name of the PDDL action.
        arguments: Names of the objects it acts on.
        num_effects: Largest number of atoms it changes.
    """

    action: str
    arguments: tuple[str, ...]
    num_effects: int


class Planner:
    """One loaded copy of the library and the state in it."""

    def __init__(self, library: object) -> None:
        self._library: Any = library

    def load(self, sas: str) -> None:
        """Load a task in SAS and set up its initial state."""
        self._library.load_sas(sas.encode())

    def atoms(self) -> list[tuple[str, list[str]]]:
        """List the state's atoms, all that actions can change; false ones begin with ``not_``."""
        # The library writes into arrays that its caller allocates.
        buffer = (fast_downward.Atom * self._library.get_state_size())()
        self._library.get_state(buffer)
        return [parse_atom(atom.name) for atom in buffer]

    def applicable(self, known: dict[int, GroundAction]) -> list[int]:
        """List the numbers of the applicable actions, and add those missing to ``known``."""
        buffer: Any = (fast_downward.Operator * self._library.get_applicable_operators_count())()
        self._library.get_applicable_operators(buffer)
        numbers: list[int] = []
        for operator in buffer:
            number: int = operator.id
            numbers.append(number)
            if number not in known:
                known[number] = _ground_action(operator)
        return numbers

    def apply(self, number: int, action: GroundAction) -> list[tuple[str, list[str]]]:
        """Apply an applicable action; list the atoms that it made true or false."""
        buffer = (fast_downward.Atom * action.num_effects)()
        self._library.apply_operator(number, buffer)
        return [parse_atom(atom.name) for atom in buffer]

    def goal_holds(self) -> bool:
        """Return whether the task's goal holds now."""
        return bool(self._library.check_goal())


def pddl_to_sas(*, domain: str, problem: str) -> tuple[Any, str]:
    """Translate a problem; return fast-downward's parse of it, and the task in SAS.

    Args:
        domain: The domain in PDDL.
        problem: The problem in PDDL.
    """
    with _argv_restored():
        # Optimized, the task would lack actions that no plan needs, and they could not be played.
        return fast_downward.pddl2sas(domain, problem, optimize=False)  # pyright: ignore


def parse_atom(text: str) -> tuple[str, list[str]]:
    """Split fast-downward's name of an atom into predicate and arguments.

    >>> parse_atom("Atom holds(agent1, apple)")
    ('holds', ['agent1', 'apple'])
    >>> parse_atom("NegatedAtom holdsany(agent1)")
    ('not_holdsany', ['agent1'])
    """
    sign, atom = text.split(" ", 1)
    predicate, arguments = atom[:-1].split("(", 1)
    if sign == "NegatedAtom":
        predicate = f"not_{predicate}"
    return predicate, arguments.split(", ") if arguments else []


def _ground_action(operator: Any) -> GroundAction:  # noqa: ANN401  (a ctypes structure)
    action, *arguments = str(operator.name).split()
    return GroundAction(action, tuple(arguments), int(operator.nb_effect_atoms))


@contextlib.contextmanager
def _argv_restored() -> Generator[None]:
    # fast-downward's translator overwrites sys.argv to set its own options.
    argv = sys.argv
    try:
        yield
    finally:
        sys.argv = argv
