"""Operators of the interpreter's programs, by their nodes in ``ast``."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

from layerbench.envs.code.values import Budget, Value, integer, listed, refuse

_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: int.__add__,
    ast.Sub: int.__sub__,
    ast.Mult: int.__mul__,
    ast.FloorDiv: int.__floordiv__,
    ast.Mod: int.__mod__,
    ast.Pow: int.__pow__,
}

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


def combine(kind: ast.operator, left: Value, right: Value, budget: Budget) -> Value:
    """Apply an operator of arithmetic; lists are joined by ``+`` and repeated by ``*``.

    Raises:
        ProgramError: The operator is not available, or not for these values, or the result is
            too large.
    """
    if isinstance(left, list) and isinstance(right, list) and isinstance(kind, ast.Add):
        return listed(cast(list[Value], left + right), budget)
    if isinstance(left, list) and isinstance(kind, ast.Mult):
        many = max(integer(right), 0)
        budget.spend(many * len(cast(list[Value], left)))
        return listed(cast(list[Value], left * many), budget)
    apply = _OPERATORS.get(type(kind))
    if apply is None:
        refuse(f"{type(kind).__name__} is not available")
    left, right = integer(left), integer(right)
    if isinstance(kind, ast.Pow) and not (0 <= right <= 40 and abs(left) ** right <= 10**40):
        refuse("a number is too large")
    try:
        return integer(apply(left, right))
    except ZeroDivisionError:
        refuse("it divides by 0")


def compare(kind: ast.cmpop, left: Value, right: Value, budget: Budget) -> bool:
    """Compare two values that ``comparable`` has passed.

    Raises:
        ProgramError: They cannot be compared so, or there are no steps left to do it.
    """
    if isinstance(right, list | set | tuple):
        budget.spend(len(cast(list[Value], right)))
    try:
        return bool(_COMPARISONS[type(kind)](left, right))
    except TypeError:
        refuse("values cannot be compared")
