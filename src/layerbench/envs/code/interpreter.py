"""Runs programs of a small subset of Python in this process: read by ``ast``, never executed.

Integers and lists of them, assignments, ``for``, ``while``, ``if``, comprehensions, and the
functions of ``library``. No attribute is read, and nothing of Python's own is reached.
"""

import ast
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from layerbench.envs.code.library import call_builtin, call_method
from layerbench.envs.code.operators import combine, compare
from layerbench.envs.code.values import (
    Budget,
    ProgramError,
    Value,
    comparable,
    integer,
    items,
    listed,
    refuse,
    truth,
)

MAX_CHARS = 4_000
"""Longest program that is read."""


class _Return(Exception):
    def __init__(self, value: Value) -> None:
        self.value = value


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


def run(source: str, arguments: Sequence[Value]) -> Value:
    """Call the last function of a program.

    Args:
        source: The program: one or more functions, of which the last is called.
        arguments: Its arguments; they are not changed.

    Raises:
        ProgramError: The program is outside of the subset, fails, or does not end in time.
    """
    try:
        function = _parse(source)
        given = [list(cast(list[Value], a)) if isinstance(a, list) else a for a in arguments]
        return _Frame(Budget(), {}).call(function.args, function.body, given)
    except RecursionError:
        refuse("it is nested too deeply")


@functools.lru_cache(maxsize=2_000)
def _parse(source: str) -> ast.FunctionDef:
    if len(source) > MAX_CHARS:
        refuse("it is too long")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        refuse("it is not Python")
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    if not functions:
        refuse("it has no function")
    if functions[-1].decorator_list:
        refuse("decorators are not available")
    return functions[-1]


class _Frame:
    """Variables of a function that is running."""

    def __init__(self, budget: Budget, variables: dict[str, Value]) -> None:
        self.budget = budget
        self.variables = variables

    def call(
        self, parameters: ast.arguments, body: Sequence[ast.stmt], arguments: Sequence[Value]
    ) -> Value:
        self._bind(parameters, arguments)
        try:
            self.run(body)
        except _Return as returned:
            return returned.value
        except (_Break, _Continue):
            refuse("a loop is expected")
        return None

    def _bind(self, parameters: ast.arguments, arguments: Sequence[Value]) -> None:
        names = [parameter.arg for parameter in parameters.args]
        special = parameters.vararg or parameters.kwarg or parameters.kwonlyargs
        if special or parameters.posonlyargs or len(names) != len(arguments):
            refuse("it takes other arguments")
        self.variables.update(zip(names, arguments, strict=True))

    def run(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.budget.spend()
            runner = _STATEMENTS.get(type(statement))
            if runner is None:
                refuse(f"{type(statement).__name__} is not available")
            runner(self, statement)

    def value(self, node: ast.expr | None) -> Value:
        if node is None:
            return None
        self.budget.spend()
        reader = _EXPRESSIONS.get(type(node))
        if reader is None:
            refuse(f"{type(node).__name__} is not available")
        return reader(self, node)

    def assign(self, target: ast.expr, value: Value) -> None:
        """Give a value to a variable, to an item of a list, or in parts to several of them.

        Raises:
            ProgramError: The target is none of these, or has another number of parts.
        """
        if isinstance(target, ast.Name):
            self.variables[target.id] = value
        elif isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
            owner, index = self.value(target.value), integer(self.value(target.slice))
            if not isinstance(owner, list) or not -len(owner) <= index < len(owner):  # pyright: ignore
                refuse("an index is out of range")
            owner[index] = integer(value)
        elif isinstance(target, ast.Tuple | ast.List):
            parts = items(value)
            if len(parts) != len(target.elts):
                refuse("a pair is expected")
            for part, inner in zip(target.elts, list(parts), strict=True):
                self.assign(part, inner)
        else:
            refuse("it cannot be assigned to")

    def comprehended(
        self, element: ast.expr, generators: Sequence[ast.comprehension]
    ) -> Iterator[Value]:
        """Give the items of a comprehension, whose variables are its own."""
        inner = _Frame(self.budget, dict(self.variables))
        first, *further = generators
        if first.is_async:
            refuse("async is not available")
        for value in list(items(self.value(first.iter))):
            inner.assign(first.target, value)
            if all(truth(inner.value(test)) for test in first.ifs):
                if further:
                    yield from inner.comprehended(element, further)
                else:
                    yield inner.value(element)


def _return(frame: _Frame, node: ast.Return) -> None:
    raise _Return(frame.value(node.value))


def _assign(frame: _Frame, node: ast.Assign) -> None:
    value = frame.value(node.value)
    for target in node.targets:
        frame.assign(target, value)


def _annotated(frame: _Frame, node: ast.AnnAssign) -> None:
    frame.assign(node.target, frame.value(node.value))


def _augmented(frame: _Frame, node: ast.AugAssign) -> None:
    now = frame.value(_as_read(node.target))
    frame.assign(node.target, combine(node.op, now, frame.value(node.value), frame.budget))


def _as_read(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    refuse("it cannot be assigned to")


def _expression(frame: _Frame, node: ast.Expr) -> None:
    # A docstring is text, which no expression may be.
    is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    if not is_text:
        frame.value(node.value)


def _if(frame: _Frame, node: ast.If) -> None:
    frame.run(node.body if truth(frame.value(node.test)) else node.orelse)


def _for(frame: _Frame, node: ast.For) -> None:
    for value in list(items(frame.value(node.iter))):
        frame.assign(node.target, value)
        if not _goes_on(frame, node.body):
            return
    frame.run(node.orelse)


def _while(frame: _Frame, node: ast.While) -> None:
    while truth(frame.value(node.test)):
        if not _goes_on(frame, node.body):
            return
    frame.run(node.orelse)


def _goes_on(frame: _Frame, body: Sequence[ast.stmt]) -> bool:
    try:
        frame.run(body)
    except _Break:
        return False
    except _Continue:
        pass
    return True


def _break(frame: _Frame, node: ast.Break) -> None:
    raise _Break


def _continue(frame: _Frame, node: ast.Continue) -> None:
    raise _Continue


def _pass(frame: _Frame, node: ast.Pass) -> None:
    pass


def _constant(frame: _Frame, node: ast.Constant) -> Value:
    return None if node.value is None else integer(node.value)


def _name(frame: _Frame, node: ast.Name) -> Value:
    if node.id in frame.variables:
        return frame.variables[node.id]
    return functools.partial(_named_builtin, frame, node.id)


def _named_builtin(frame: _Frame, name: str, arguments: Sequence[Value]) -> Value:
    return call_builtin(name, arguments, {}, frame.budget)


def _list(frame: _Frame, node: ast.List) -> Value:
    return listed((frame.value(part) for part in _unstarred(node.elts)), frame.budget)


def _tuple(frame: _Frame, node: ast.Tuple) -> Value:
    return tuple(integer(frame.value(part)) for part in _unstarred(node.elts))


def _set(frame: _Frame, node: ast.Set) -> Value:
    return {integer(frame.value(part)) for part in _unstarred(node.elts)}


def _unstarred(parts: Sequence[ast.expr]) -> Sequence[ast.expr]:
    if any(isinstance(part, ast.Starred) for part in parts):
        refuse("'*' is not available")
    return parts


def _comprehension(frame: _Frame, node: ast.ListComp | ast.GeneratorExp) -> Value:
    return listed(frame.comprehended(node.elt, node.generators), frame.budget)


def _set_comprehension(frame: _Frame, node: ast.SetComp) -> Value:
    return {*map(integer, frame.comprehended(node.elt, node.generators))}


def _binary(frame: _Frame, node: ast.BinOp) -> Value:
    return combine(node.op, frame.value(node.left), frame.value(node.right), frame.budget)


def _unary(frame: _Frame, node: ast.UnaryOp) -> Value:
    value = frame.value(node.operand)
    if isinstance(node.op, ast.Not):
        return not truth(value)
    if isinstance(node.op, ast.Invert):
        refuse("Invert is not available")
    return -integer(value) if isinstance(node.op, ast.USub) else integer(value)


def _boolean(frame: _Frame, node: ast.BoolOp) -> Value:
    ends_at = isinstance(node.op, ast.Or)
    value: Value = None
    for part in node.values:
        value = frame.value(part)
        if truth(value) == ends_at:
            break
    return value


def _compare(frame: _Frame, node: ast.Compare) -> Value:
    left: Value = comparable(frame.value(node.left))
    for kind, part in zip(node.ops, node.comparators, strict=True):
        right = comparable(frame.value(part))
        if not compare(kind, left, right, frame.budget):
            return False
        left = right
    return True


def _choice(frame: _Frame, node: ast.IfExp) -> Value:
    return frame.value(node.body if truth(frame.value(node.test)) else node.orelse)


def _subscript(frame: _Frame, node: ast.Subscript) -> Value:
    owner = frame.value(node.value)
    if not isinstance(owner, list | tuple):
        refuse("a list is expected")
    found = cast(Sequence[Value], owner)
    if isinstance(node.slice, ast.Slice):
        bounds = [frame.value(b) for b in (node.slice.lower, node.slice.upper, node.slice.step)]
        if bounds[2] == 0:
            refuse("a slice has step 0")
        frame.budget.spend(len(found))
        return found[slice(*[None if b is None else integer(b) for b in bounds])]
    index = integer(frame.value(node.slice))
    if not -len(found) <= index < len(found):
        refuse("an index is out of range")
    return found[index]


def _call(frame: _Frame, node: ast.Call) -> Value:
    arguments = [frame.value(part) for part in _unstarred(node.args)]
    named = {keyword.arg or "**": frame.value(keyword.value) for keyword in node.keywords}
    if isinstance(node.func, ast.Attribute):
        owner = frame.value(node.func.value)
        return call_method(owner, node.func.attr, arguments, named, frame.budget)
    if isinstance(node.func, ast.Name) and node.func.id not in frame.variables:
        return call_builtin(node.func.id, arguments, named, frame.budget)
    function = frame.value(node.func)
    if named or not callable(function):
        refuse("it is no function")
    return function(arguments)


def _lambda(frame: _Frame, node: ast.Lambda) -> Value:
    body = [ast.Return(node.body)]

    def call(arguments: Sequence[Value]) -> Value:
        return _Frame(frame.budget, dict(frame.variables)).call(node.args, body, arguments)

    return call


_STATEMENTS: Mapping[type[ast.stmt], Callable[[_Frame, Any], None]] = {
    ast.Return: _return,
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Expr: _expression,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Break: _break,
    ast.Continue: _continue,
    ast.Pass: _pass,
}

_EXPRESSIONS: Mapping[type[ast.expr], Callable[[_Frame, Any], Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.List: _list,
    ast.Tuple: _tuple,
    ast.Set: _set,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.SetComp: _set_comprehension,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.Subscript: _subscript,
    ast.Call: _call,
    ast.Lambda: _lambda,
}

__all__ = ["ProgramError", "run"]
