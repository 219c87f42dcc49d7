"""Values of the interpreter: integers, lists and sets of them; all bounded."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, cast

Value = Any
"""An int, bool or None; a list, set or tuple of ints; or a function of the program's own."""

MAX_INT = 10**12
MAX_ITEMS = 1_000
MAX_STEPS = 20_000


class ProgramError(Exception):
    """A program is outside of the subset, fails, or does not end within the bounds."""


def refuse(what: str) -> NoReturn:
    """Raise the error with a short reason."""
    raise ProgramError(what)


class Budget:
    """Steps that a program has left."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int = 1) -> None:
        """Count steps.

        Raises:
            ProgramError: There are none left.
        """
        self._left -= steps
        if self._left < 0:
            refuse("it does not end in time")


def integer(value: Value) -> int:
    """Check that a value is a bounded integer."""
    if not isinstance(value, int):
        refuse("a number is expected")
    if not -MAX_INT <= value <= MAX_INT:
        refuse("a number is too large")
    return value


def items(value: Value) -> Sequence[Value]:
    """List the items of a list, set or tuple, in order."""
    if isinstance(value, set):
        return sorted(cast(set[int], value))
    if not isinstance(value, list | tuple):
        refuse("a list is expected")
    return cast(Sequence[Value], value)


def listed(values: Iterable[Value], budget: Budget) -> list[Value]:
    """Make a list whose items are integers, or pairs of them as ``enumerate`` gives."""
    made: list[Value] = []
    for value in values:
        budget.spend()
        made.append(item(value))
        if len(made) > MAX_ITEMS:
            refuse("a list is too long")
    return made


def item(value: Value) -> Value:
    """Check what is put into a list: lists of lists would have no bound."""
    if isinstance(value, tuple):
        return tuple(integer(part) for part in cast(tuple[Value, ...], value))
    return integer(value)


def truth(value: Value) -> bool:
    """Tell whether a value counts as true."""
    if value is None or isinstance(value, int | list | tuple | set):
        return bool(cast(Any, value))
    refuse("a condition is expected")


def comparable(value: Value) -> Value:
    """Check that a value can be compared."""
    if value is None or isinstance(value, int | list | tuple | set):
        return cast(Value, value)
    refuse("a value is expected")


Call = Callable[[Sequence[Value]], Value]
"""A function of the program's own, called with its arguments."""
