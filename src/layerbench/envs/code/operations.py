"""Operations that generated programs are made of: the line of Python, and how a sentence names it.

After all but letters, digits and operators that spaces set apart is dropped, as a small model's
tokenizer does, no two lines are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

PARAMETERS = range(2, 10)
"""Numbers that an operation may have."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of line.

    Attributes:
        name: Its name in families of programs.
        kind: In ``permuted`` texts, names change places within a kind.
        line: The line; ``{k}`` is the operation's number.
        phrase: What a sentence says; likewise.
    """

    name: str
    kind: str
    line: str
    phrase: str

    @property
    def has_number(self) -> bool:
        """Whether the line has a number."""
        return "{k}" in self.line


@dataclass(frozen=True, slots=True)
class Step:
    """An operation with its number; 0 if it has none."""

    operation: Operation
    number: int = 0

    @property
    def line(self) -> str:
        """The line of Python."""
        return self.operation.line.format(k=self.number)

    def phrase(self, *, permuted: bool) -> str:
        """Name the step in a sentence; ``permuted``, by the name of another of its kind."""
        said = renamed(self.operation) if permuted else self.operation
        return said.phrase.format(k=self.number)


STEPS = (
    Operation("double", "map", "xs = [x * 2 for x in xs]", "double every item"),
    Operation("triple", "map", "xs = [x * 3 for x in xs]", "triple every item"),
    Operation("halve", "map", "xs = [x // 2 for x in xs]", "halve every item"),
    Operation("square", "map", "xs = [x * x for x in xs]", "square every item"),
    Operation("add", "map by", "xs = [x + {k} for x in xs]", "add {k} to every item"),
    Operation("subtract", "map by", "xs = [x - {k} for x in xs]", "subtract {k} from every item"),
    Operation("modulo", "map by", "xs = [x % {k} for x in xs]", "reduce every item modulo {k}"),
    Operation("even", "filter", "xs = [x for x in xs if x % 2 == 0]", "keep the even items"),
    Operation("odd", "filter", "xs = [x for x in xs if x % 2 == 1]", "keep the odd items"),
    Operation("above", "filter by", "xs = [x for x in xs if x > {k}]", "keep the items above {k}"),
    Operation("below", "filter by", "xs = [x for x in xs if x < {k}]", "keep the items below {k}"),
    Operation(
        "without", "filter by", "xs = [x for x in xs if x != {k}]", "drop the items equal to {k}"
    ),
    Operation("sort", "order", "xs = sorted(xs)", "sort the list upwards"),
    Operation("sort down", "order", "xs = sorted(xs, reverse=True)", "sort the list downwards"),
    Operation("reverse", "order", "xs = list(reversed(xs))", "reverse the list"),
    Operation("distinct", "order", "xs = sorted(set(xs))", "sort the list without repeats"),
    Operation("rest", "order", "xs = xs[1:]", "drop the first item"),
)

RETURNS = (
    Operation("sum", "return", "return sum(xs)", "return the sum"),
    Operation("largest", "return", "return max(xs)", "return the largest item"),
    Operation("smallest", "return", "return min(xs)", "return the smallest item"),
    Operation("count", "return", "return len(xs)", "return the number of items"),
    Operation("first", "return", "return xs[0]", "return the first item"),
    Operation("list", "return", "return xs", "return the list"),
)


def _next_of_kind() -> Mapping[Operation, Operation]:
    following: dict[Operation, Operation] = {}
    for operation in (*STEPS, *RETURNS):
        kin = [other for other in (*STEPS, *RETURNS) if other.kind == operation.kind]
        following[operation] = kin[(kin.index(operation) + 1) % len(kin)]
    return following


_RENAMED = _next_of_kind()


def renamed(operation: Operation) -> Operation:
    """Find the operation whose name a permuted sentence says: a fixed cycle within the kind.

    >>> renamed(STEPS[0]).phrase
    'triple every item'
    """
    return _RENAMED[operation]
