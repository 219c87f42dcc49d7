"""A few searches to choose among, made from an instruction alone.

For agents that cannot type: each is a part of what the instruction says, so that which of them
finds the product has to be learned. For "Find me red, soft wool hats for men with size: s, and
price lower than 20.00 dollars" they are, in this order:

1. all that was asked for: ``red, soft wool hats for men s``
2. without the options: ``red, soft wool hats for men``
3. up to the first "with", "for" or "that": ``red, soft wool hats``
4. the last two words of that: ``wool hats``
5. those and the options: ``wool hats s``
"""

import re
from dataclasses import dataclass

_PRICE = re.compile(r",? and price lower than (?P<limit>[\d.]+) dollars\.?\s*$")
_OPTIONS = re.compile(r" with (?P<options>(?:(?! with )[^,:])+: .*)$")
_BEFORE_OPTION = re.compile(r"(?:^|, and )[^,:]+: ")
_OPENING = re.compile(
    r"^(?:please |hello,? )?(?:find|show|get|give|buy) me "
    r"|^i(?:'m| am)? (?:looking|searching|shopping) for |^i (?:want|need|would like)(?: to buy)? "
)
_FURTHER = re.compile(r",? (?:with|for|that|which) ")
_WORDS_OF_KIND = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """An instruction, taken apart.

    Attributes:
        wanted: Kind and attributes, lower case.
        values: Values of options that are named; none are found in sentences of people.
        limit: Most it may cost, in dollars; infinite if that is not said.
    """

    wanted: str
    values: tuple[str, ...]
    limit: float


def take_apart(instruction: str) -> Asked:
    """Read an instruction.

    >>> take_apart("Find me soft hats with color: red, and price lower than 20.00 dollars")
    Asked(wanted='soft hats', values=('red',), limit=20.0)
    """
    price = _PRICE.search(instruction.lower())
    asked = _PRICE.sub("", instruction.lower())
    found = _OPTIONS.search(asked)
    values = _BEFORE_OPTION.split(found["options"]) if found else []
    return Asked(
        wanted=_OPENING.sub("", asked[: found.start()] if found else asked),
        values=tuple(filter(None, values)),
        limit=float(price["limit"]) if price else float("inf"),
    )


def candidate_queries(instruction: str) -> tuple[str, ...]:
    """List distinct searches for an instruction; at least one, at most five.

    >>> candidate_queries("Find me soft hats with color: red, and price lower than 20.00 dollars")
    ('soft hats red', 'soft hats')
    """
    asked = take_apart(instruction)
    wanted, values = asked.wanted, " ".join(asked.values)
    head = _FURTHER.split(wanted)[0]
    kind = " ".join(head.split()[-_WORDS_OF_KIND:])
    candidates = (f"{wanted} {values}", wanted, head, kind, f"{kind} {values}")
    return tuple(dict.fromkeys(filter(None, map(_typed, candidates)))) or (instruction,)


def _typed(query: str) -> str:
    """Leave out what an action cannot hold: brackets, and spaces that say nothing."""
    return " ".join(query.translate({ord("["): " ", ord("]"): " "}).split())
