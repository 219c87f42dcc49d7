"""Generated problems as text: their values, canonical forms, and a calculator's steps.

A problem is a line of words set apart by blanks: ``compute 7 + 5 - 3``, ``compute ( 2 + 3 ) * 4``,
``compute 1 0 1 1 in base 2`` or ``solve 3 x + 4 = 19``. Numbers, the values in between and the
answer are integers from 0 to ``LARGEST``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LARGEST = 99
"""Largest number in a problem, between its steps, or as its answer."""

SIGNS: Mapping[str, Mapping[str, str]] = {
    "plain": {"+": "+", "-": "-", "*": "*"},
    "permuted": {"+": "-", "-": "*", "*": "+"},
}
"""What each written sign means, by the option ``signs``."""

BASES = (2, 3, 4, 5, 8)
"""Bases other than ten in which numbers are written."""

_MAX_CHARS = 200
_BASED = re.compile(r"(?<!\S)(\d(?: \d)*) in base (\d)(?!\S)")
_PAIR = re.compile(r"(?<!\S)(\d+) [-+*] (\d+)(?!\S)")
_EQUATION = re.compile(r"(\d+) x(?: ([-+*]) (\d+))? = (?:(\d+) x ([-+*]) )?(\d+)")
_SOLVED = re.compile(r"x = (\d+)")
_ALONE = re.compile(r"\( (\d+) \)")


class ProblemError(ValueError):
    """A text is no problem, or a value of it is not an integer from 0 to ``LARGEST``."""


@dataclass(frozen=True, slots=True)
class Solved:
    """The answer of a problem.

    Attributes:
        value: The answer.
        key: Canonical form: equal for problems that differ in the order of what is added or
            multiplied alone.
    """

    value: int
    key: str


def solve(text: str, *, signs: str = "plain") -> Solved:
    """Solve a problem.

    >>> solve("compute 7 + 5 - 3"), solve("solve 3 x + 4 = 19").value
    (Solved(value=9, key='(+5 +7 -3)'), 5)
    >>> solve("compute 7 + 5", signs="permuted").value
    2

    Args:
        text: The problem.
        signs: What its signs mean: a key of ``SIGNS``.

    Raises:
        ProblemError: The text is no problem, or a value is out of range.
    """
    if len(text) > _MAX_CHARS:
        raise ProblemError("a problem has at most 200 characters")
    meanings = SIGNS[signs]
    verb, _, body = text.partition(" ")
    meant = " ".join(meanings.get(word, word) for word in body.split(" "))
    if verb == "solve":
        return _solve_equation(meant)
    if verb != "compute":
        raise ProblemError(f"no problem: {text!r}")
    reader = _Reader(_without_bases(meant).split(" "))
    solved = reader.sum()
    if reader.rest:
        raise ProblemError(f"'{reader.rest[0]}' is out of place in {text!r}")
    # Written in another base it is another problem.
    based = ",".join(sorted(" ".join(match) for match in _BASED.findall(meant)))
    return Solved(solved.value, f"{solved.key};{based}" if based else solved.key)


def write(text: str, *, signs: str) -> str:
    """Write a problem, whose signs are plain, in signs that mean these.

    >>> write("compute 7 - 5", signs="permuted")
    'compute 7 + 5'
    """
    written = {meaning: sign for sign, meaning in SIGNS[signs].items()}
    return " ".join(written.get(word, word) for word in text.split(" "))


def steps(text: str) -> dict[str, str]:
    """List what a calculator can do to a problem: the problem that each step leaves.

    A step puts a number in the place of two neighbours, whatever sign is written between them; in
    that of a number in some base; or, in an equation, moves a number to the other side.

    >>> steps("compute ( 2 + 3 ) * 4")["calculate 2 + 3"]
    'compute 5 * 4'
    >>> steps("solve 3 x + 4 = 19")["calculate 19 - 4"]
    'solve 3 x = 15'
    """
    verb, _, body = text.partition(" ")
    pairs = _equation_pairs(body) if verb == "solve" else _pairs(body)
    found: dict[str, str] = {}
    for left, right, form, divides in pairs:
        for sign in "+-*/" if divides else "+-*":
            result = _apply(sign, left, right)
            if result is not None:
                rest = _ALONE.sub(r"\1", form.format(result))
                found.setdefault(f"calculate {left} {sign} {right}", f"{verb} {rest}")
    if verb == "compute":
        for match in _BASED.finditer(body):
            for base in BASES:
                value = _in_base(match[1], base)
                if value is not None:
                    left = f"{verb} {body[: match.start()]}{value}{body[match.end() :]}"
                    found.setdefault(f"calculate {match[1]} in base {base}", left)
    return found


def finished(text: str) -> int | None:
    """Give the number that is all that is left of a problem; None before.

    >>> finished("compute 12"), finished("solve x = 5"), finished("compute 7 + 5")
    (12, 5, None)
    """
    body = text.partition(" ")[2]
    match = _SOLVED.fullmatch(body)
    number = match[1] if match else body
    return int(number) if re.fullmatch(r"\d+", number) else None


def in_base(value: int, base: int) -> str:
    """Write a number above 0 in a base, its digits set apart.

    >>> in_base(11, 2)
    '1 0 1 1'
    """
    digits: list[str] = []
    while value:
        value, digit = divmod(value, base)
        digits.append(str(digit))
    return " ".join(reversed(digits))


class _Reader:
    """Reads sums of products from words, left to right."""

    def __init__(self, words: list[str]) -> None:
        self.rest = words

    def sum(self) -> Solved:
        first = self._product()
        value, keys = first.value, [f"+{first.key}"]
        while self.rest and self.rest[0] in ("+", "-"):
            sign = self.rest.pop(0)
            term = self._product()
            value = _in_range(value + term.value if sign == "+" else value - term.value)
            keys.append(f"{sign}{term.key}")
        return Solved(value, f"({' '.join(sorted(keys))})" if len(keys) > 1 else first.key)

    def _product(self) -> Solved:
        factors = [self._atom()]
        value = factors[0].value
        while self.rest and self.rest[0] == "*":
            self.rest.pop(0)
            factors.append(self._atom())
            value = _in_range(value * factors[-1].value)
        return Solved(value, "*".join(sorted(factor.key for factor in factors)))

    def _atom(self) -> Solved:
        word = self.rest.pop(0) if self.rest else ""
        if word == "(":
            inner = self.sum()
            if not self.rest or self.rest.pop(0) != ")":
                raise ProblemError("a bracket is not closed")
            return inner
        return Solved(_number(word), word)


def _solve_equation(body: str) -> Solved:
    match = _EQUATION.fullmatch(body)
    if match is None:
        raise ProblemError(f"no equation: {body!r}")
    factor, sign, term, factor_right, sign_right, right = match.groups()
    signed = _signed(sign, term)
    left = _number(factor), signed
    other = _number(factor_right or "0"), _signed(sign_right or "+", right)
    slope = left[0] - other[0]
    if slope == 0 or (other[1] - left[1]) % slope:
        raise ProblemError(f"no integer solves {body!r}")
    value = _in_range((other[1] - left[1]) // slope)
    _in_range(left[0] * value + left[1])
    return Solved(value, str(sorted((left, other))))


def _signed(sign: str | None, number: str | None) -> int:
    if sign is None or number is None:
        return 0
    if sign == "*":
        raise ProblemError("the terms of an equation are added or subtracted")
    return _number(number) if sign == "+" else -_number(number)


def _without_bases(body: str) -> str:
    return _BASED.sub(_decimal, body)


def _decimal(match: re.Match[str]) -> str:
    value = _in_base(match[1], int(match[2]))
    if value is None:
        raise ProblemError(f"no number of this base: {match[0]!r}")
    return str(value)


def _in_base(digits: str, base: int) -> int | None:
    number = digits.replace(" ", "")
    if base not in BASES or any(int(digit) >= base for digit in number):
        return None
    value = int(number, base)
    return value if value <= LARGEST else None


def _pairs(body: str) -> Iterator[tuple[int, int, str, bool]]:
    """List neighbours, and the expression with a place in place of them."""
    if "in base" in body:
        return
    start = 0
    while match := _PAIR.search(body, start):
        form = f"{body[: match.start()]}{{}}{body[match.end() :]}"
        yield int(match[1]), int(match[2]), form, False
        # The second number may have a neighbour on its right as well.
        start = match.start() + 1


def _equation_pairs(body: str) -> Iterator[tuple[int, int, str, bool]]:
    match = _EQUATION.fullmatch(body)
    if match is None:
        return
    factor, sign, term, factor_right, _, right = match.groups()
    if factor_right is not None:
        moved = f" {sign} {term}" if term else ""
        yield int(factor), int(factor_right), f"{{}} x{moved} = {right}", False
    elif term is not None:
        yield int(right), int(term), f"{factor} x = {{}}", False
    else:
        yield int(right), int(factor), "x = {}", True


def _apply(sign: str, left: int, right: int) -> int | None:
    """Compute one step; None where the result is no integer from 0 to ``LARGEST``."""
    if sign == "/":
        return left // right if right and left % right == 0 else None
    value = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return value if 0 <= value <= LARGEST else None


def _number(word: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", word):
        raise ProblemError(f"'{word}' is no number from 0 to {LARGEST}")
    return int(word)


def _in_range(value: int) -> int:
    if not 0 <= value <= LARGEST:
        raise ProblemError(f"{value} is not from 0 to {LARGEST}")
    return value
