"""Candidate searches, made from an instruction alone, for agents that can only choose.

Each consists of parts of the instruction; an agent has to learn which of them finds the product.
For "Find me red, soft wool hats for men with size: s, and
price lower than 20.00 dollars" they are, in this order:

1. everything but the price: ``red, soft wool hats for men s``
2. without the options: ``red, soft wool hats for men``
3. up to the first "with", "for" or "that": ``red, soft wool hats``
4. the last two words of that: ``wool hats``
5. those and the options: ``wool hats s``
"""

import re
from dataclasses import dataclass

_PRICE = re.compile(r",? and price lower than (?P<limit>[\d.]+) dollars\.?\s*$")
_OPTIONS = re.compile(r" with (?P<options>(?:(?! with )[^,:])+: .*)$")
# An option's name up to its colon: "size: " or ", and color: ".
_BEFORE_OPTION = re.compile(r"(?:^|, and )[^,:]+: ")
_OPENING = re.compile(
    r"^(?:please |hello,? )?(?:find|show|get|give|buy) me "
    r"|^i(?:'m| am)? (?:looking|searching|shopping) for |^i (?:want|need|would like)(?: to buy)? "
)
_FURTHER = re.compile(r",? (?:with|for|that|which) ")
_WORDS_OF_KIND = 2


@dataclass(frozen=True, slots=True)
class ParsedInstruction:
    """The parts of an instruction.

    Attributes:
        description: Kind and attributes, lower case.
        option_values: Option values, found only where written as "name: value".
        price_limit: Highest price in dollars; infinite if there is no limit.
    """

    description: str
    option_values: tuple[str, ...]
    price_limit: float


def parse_instruction(instruction: str) -> ParsedInstruction:
    """Parse an instruction.

    >>> parse_instruction("Find me soft hats with color: red, and price lower than 20.00 dollars")
    ParsedInstruction(description='soft hats', option_values=('red',), price_limit=20.0)
    """
    price = _PRICE.search(instruction.lower())
    text = _PRICE.sub("", instruction.lower())
    options = _OPTIONS.search(text)
    values = _BEFORE_OPTION.split(options["options"]) if options else []
    return ParsedInstruction(
        description=_OPENING.sub("", text[: options.start()] if options else text),
        option_values=tuple(filter(None, values)),
        price_limit=float(price["limit"]) if price else float("inf"),
    )


def candidate_queries(instruction: str) -> tuple[str, ...]:
    """Make one to five distinct searches for an instruction.

    >>> candidate_queries("Find me soft hats with color: red, and price lower than 20.00 dollars")
    ('soft hats red', 'soft hats')
    """
    parsed = parse_instruction(instruction)
    description, values = parsed.description, " ".join(parsed.option_values)
    head = _FURTHER.split(description)[0]
    kind = " ".join(head.split()[-_WORDS_OF_KIND:])
    candidates = (f"{description} {values}", description, head, kind, f"{kind} {values}")
    return tuple(dict.fromkeys(filter(None, map(_searchable, candidates)))) or (instruction,)


def _searchable(query: str) -> str:
    """Remove brackets, which delimit an action's argument, and surplus spaces."""
    return " ".join(query.translate({ord("["): " ", ord("]"): " "}).split())
