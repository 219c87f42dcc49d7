"""Built-in functions and methods that programs of the subset may call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from layerbench.envs.code.values import (
    MAX_ITEMS,
    Budget,
    Value,
    integer,
    item,
    items,
    listed,
    refuse,
    truth,
)

Arguments = Sequence[Value]
Named = Mapping[str, Value]


def call_builtin(name: str, arguments: Arguments, named: Named, budget: Budget) -> Value:
    """Call a built-in function.

    Raises:
        ProgramError: There is none of this name, or its arguments are wrong.
    """
    function = _BUILTINS.get(name)
    if function is None:
        refuse(f"'{name}' is not available")
    return function(arguments, named, budget)


def call_method(
    owner: Value, name: str, arguments: Arguments, named: Named, budget: Budget
) -> Value:
    """Call a method of a list or set; raises as ``call_builtin``."""
    methods = _SET_METHODS if isinstance(owner, set) else _LIST_METHODS
    if not isinstance(owner, list | set) or name not in methods:
        refuse(f"method '{name}' is not available")
    budget.spend(len(cast(list[Value], owner)))
    if name == "sort":
        cast(list[Value], owner)[:] = _sorted([owner, *arguments], named, budget)
        return None
    _no_names(named)
    if name == "extend":
        arguments = [[item(value) for value in _values(arguments, budget)]]
    else:
        check = integer if isinstance(owner, set) else item
        arguments = [check(argument) for argument in arguments]
    try:
        result = getattr(cast(Any, owner), name)(*arguments)
    except (IndexError, ValueError, TypeError):
        refuse(f"'{name}' fails")
    if len(cast(list[Value], owner)) > MAX_ITEMS:
        refuse("a list is too long")
    return result


def _no_names(named: Named, known: Sequence[str] = ()) -> None:
    for name in named:
        if name not in known:
            refuse(f"argument '{name}' is not available")


def _values(arguments: Arguments, budget: Budget) -> Sequence[Value]:
    if len(arguments) != 1:
        refuse("one list is expected")
    found = items(arguments[0])
    budget.spend(len(found))
    return found


def _sum(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named, ["start"])
    start = [*arguments[1:], named.get("start", 0)][0]
    return integer(sum(map(integer, _values(arguments[:1], budget)), integer(start)))


def _len(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return len(_values(arguments, budget))


def _keys(found: Sequence[Value], named: Named) -> list[Value]:
    key = named.get("key")
    return [item(key([value]) if callable(key) else value) for value in found]


def _extreme(largest: bool) -> Callable[[Arguments, Named, Budget], Value]:
    def pick(arguments: Arguments, named: Named, budget: Budget) -> Value:
        _no_names(named, ["key", "default"])
        many = len(arguments) > 1
        found = _values([list(arguments)] if many else arguments, budget)
        if not found:
            return named["default"] if "default" in named else refuse("a list is empty")
        ranked = list(zip(_keys(found, named), range(len(found)), strict=True))
        try:
            # The first of equal ones, as in Python.
            best = max(ranked, key=lambda pair: (pair[0], -pair[1])) if largest else min(ranked)
        except TypeError:
            refuse("items cannot be compared")
        return found[best[1]]

    return pick


def _sorted(arguments: Arguments, named: Named, budget: Budget) -> list[Value]:
    _no_names(named, ["key", "reverse"])
    found = _values(arguments, budget)
    keys = _keys(found, named)
    try:
        order = sorted(
            range(len(found)), key=keys.__getitem__, reverse=truth(named.get("reverse", False))
        )
    except TypeError:
        refuse("items cannot be compared")
    return [found[index] for index in order]


def _reversed(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return list(_values(arguments, budget))[::-1]


def _list(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return list(_values(arguments, budget)) if arguments else []


def _set(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return {integer(value) for value in _values(arguments, budget)} if arguments else set[int]()


def _range(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    bounds = [integer(argument) for argument in arguments]
    if not 1 <= len(bounds) <= 3 or (len(bounds) == 3 and bounds[2] == 0):
        refuse("'range' fails")
    return listed(range(*bounds), budget)


def _abs(arguments: Arguments, named: Named, budget: Budget) -> Value:
    del budget
    _no_names(named)
    return abs(integer(_only(arguments)))


def _int(arguments: Arguments, named: Named, budget: Budget) -> Value:
    del budget
    _no_names(named)
    return int(integer(_only(arguments)))


def _any(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return any(map(truth, _values(arguments, budget)))


def _all(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return all(map(truth, _values(arguments, budget)))


def _enumerate(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named, ["start"])
    start = [*arguments[1:], named.get("start", 0)][0]
    return listed(enumerate(_values(arguments[:1], budget), integer(start)), budget)


def _zip(arguments: Arguments, named: Named, budget: Budget) -> Value:
    _no_names(named)
    return listed(zip(*map(items, arguments), strict=False), budget)


def _map(arguments: Arguments, named: Named, budget: Budget) -> Value:
    function, found = _function_and_list(arguments, named)
    return listed((function([value]) for value in found), budget)


def _filter(arguments: Arguments, named: Named, budget: Budget) -> Value:
    function, found = _function_and_list(arguments, named)
    return listed((value for value in found if truth(function([value]))), budget)


def _function_and_list(
    arguments: Arguments, named: Named
) -> tuple[Callable[[Arguments], Value], Sequence[Value]]:
    _no_names(named)
    if len(arguments) != 2 or not callable(arguments[0]):
        refuse("a function and a list are expected")
    return arguments[0], items(arguments[1])


def _only(arguments: Arguments) -> Value:
    if len(arguments) != 1:
        refuse("one argument is expected")
    return arguments[0]


_BUILTINS: Mapping[str, Callable[[Arguments, Named, Budget], Value]] = {
    "sum": _sum,
    "len": _len,
    "max": _extreme(largest=True),
    "min": _extreme(largest=False),
    "sorted": _sorted,
    "reversed": _reversed,
    "list": _list,
    "tuple": _list,
    "set": _set,
    "range": _range,
    "abs": _abs,
    "int": _int,
    "any": _any,
    "all": _all,
    "enumerate": _enumerate,
    "zip": _zip,
    "map": _map,
    "filter": _filter,
}

_LIST_METHODS = frozenset(
    {"append", "extend", "insert", "pop", "remove", "index", "count", "copy", "reverse", "sort"}
)
_SET_METHODS = frozenset({"add", "discard"})
