r"""Reads the answer out of a response, and compares plain numbers exactly."""

import re
from decimal import Decimal
from fractions import Fraction

MAX_RESPONSE_CHARS = 100_000
"""Longest response of which the end is not all that is read."""

_BOXES = ("\\boxed", "\\fbox")
_ELEMENT = re.compile(r"<(action|answer)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
# An answer that is said, or the action of that name alone on a line. What is said of "this answer"
# is about one that was said before.
_SAYS = re.compile(
    r"(?:(?<!this )(?<!that )\banswer\**\s*(?:is\b|:|=)\s*:?|^\s*answer\s)"
    r"\s*\**\s*(?:\\[\[(]\s*)?(?P<answer>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+)?")
_FRACTION = re.compile(
    r"(?P<sign>[-+]?)(?:\\[dt]?frac\{(?P<a>[-+]?\d+)\}\{(?P<b>[-+]?\d+)\}"
    r"|\\[dt]?frac(?P<c>\d)(?P<d>\d)|(?P<e>\d+)/(?P<f>\d+))"
)
_REPEATING = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d*)\.(?P<once>\d*)\\overline\{(?P<again>\d{1,9})\}"
)
# Numbers that are still to be added, subtracted or multiplied; 5 x 10^3 is written so.
_OPERATOR = r"(?:[-+*·\u00d7÷]|\\times|\\cdot|\\div)"
_CALCULATION = re.compile(rf"[-+(]*[\d.,]+(?:[)\s]*{_OPERATOR}[(\s]*[-+]?[\d.,]+)+[)\s]*")
_SCIENTIFIC = re.compile(r"[-+]?[\d.]+\s*(?:[*·\u00d7]|\\times|\\cdot)\s*10")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}")
_LAYOUT = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;: ]|\$")
# Between two digits a blank matters.
_BLANK = re.compile(r"(?<!\d)\s+|\s+(?!\d)")
# Words of three letters on: shorter ones may be symbols.
_UNIT = re.compile(r"(?P<number>[-+\d.,/$]*\d)\s+(?P<unit>[A-Za-z]{3,}(?: [A-Za-z]{3,}){0,2})")
_NO_UNITS = re.compile(
    r"and|but|not|minus|plus|times|over|percent|hundred|thousand|million|billion|trillion|dozen|half|"
    r"third|quarter|alpha|beta|gamma|delta|theta|lambda|sigma|omega|phi|sqrt|sin|cos|tan|log|mod|"
    r"factorial|squared|cubed"
)
# Between two answers.
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|\\(?:lor|land|vee|wedge)\b", re.IGNORECASE)
_MAX_NUMBER_CHARS = 200
_MAX_SAID_CHARS = 500
# Of boxes that are not closed, each is read to the end.
_MOST_BOXES = 10


def extract(response: str) -> str:
    r"""Find the text of the answer: the last box, an element, or what "the answer is" says.

    >>> extract(r"So \boxed{\frac{1}{2}}, not \boxed{3"), extract("The answer is **42**.")
    ('\\frac{1}{2}', '42')
    >>> extract("<think>7?</think><action>answer 12</action>"), extract("12")
    ('12', '12')

    Args:
        response: The response; of a very long one, the end is read.
    """
    text = response[-MAX_RESPONSE_CHARS:]
    box = last_box(text)
    if box is not None:
        return box.strip()
    elements = _ELEMENT.findall(text)
    if elements:
        text = elements[-1][1]
    said = list(_SAYS.finditer(text))
    if said:
        text = said[-1]["answer"]
    text = _trimmed(text)
    # A page that never says an answer has none.
    return text if len(text) <= _MAX_SAID_CHARS else ""


def normal(answer: str) -> str:
    r"""Write an answer without what is of its layout alone.

    >>> normal(r"$\dfrac{1}{2}$.") == normal(r"\frac{1}{2}"), normal(r"\text{(C)}")
    (True, '(C)')
    """
    text = answer.strip().strip("$").strip().removesuffix(".")
    text = _TEXT.sub(r"\1", text)
    text = _LAYOUT.sub("", text)
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    return _BLANK.sub("", text)


def rational(answer: str) -> Fraction | None:
    r"""Read an integer, a decimal or a fraction exactly; None for anything else.

    >>> rational("1,000"), rational("-0.5"), rational(r"\dfrac{3}{6}"), rational("50\\%")
    (Fraction(1000, 1), Fraction(-1, 2), Fraction(1, 2), None)
    >>> rational("5 red apples"), rational("5 million"), rational("4 5")
    (Fraction(5, 1), None, None)
    """
    text = re.sub(r"\\[,;: ]", " ", answer.strip().strip("$").strip().replace("\\!", ""))
    unit = _UNIT.fullmatch(text)
    if unit and not any(map(_NO_UNITS.fullmatch, unit["unit"].lower().split())):
        text = unit["number"]
    # Two numbers beside each other are not one.
    text = _BLANK.sub("", text)
    text = text.removeprefix("\\$").replace("{,}", ",")
    if not text or len(text) > _MAX_NUMBER_CHARS or not text.isascii():
        return None
    if _NUMBER.fullmatch(text) and any(map(str.isdigit, text)):
        return Fraction(Decimal(text.replace(",", "")))
    if match := _REPEATING.fullmatch(text):
        return _repeating(match)
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    top = int(match["a"] or match["c"] or match["e"])
    bottom = int(match["b"] or match["d"] or match["f"])
    if bottom == 0:
        return None
    value = Fraction(top, bottom)
    return -value if match["sign"] == "-" else value


def _repeating(match: re.Match[str]) -> Fraction:
    once, again = match["once"], match["again"]
    digits = Fraction(int(again), 10 ** len(again) - 1) + int(f"0{match['whole']}{once}")
    value = digits / 10 ** len(once)
    return -value if match["sign"] == "-" else value


def is_calculation(answer: str) -> bool:
    r"""Tell whether plain numbers are still to be added or multiplied.

    >>> is_calculation("123 * 456"), is_calculation(r"2 \times (3 + 4)"), is_calculation("-5")
    (True, True, False)
    >>> is_calculation(r"5 \times 10^3"), is_calculation("x + 1")
    (False, False)
    """
    text = answer.strip().strip("$").strip()
    return bool(_CALCULATION.fullmatch(text)) and not _SCIENTIFIC.match(text)


def is_several(answer: str) -> bool:
    r"""Tell whether a text says more than one answer.

    >>> is_several("3 or 4"), is_several(r"3 \lor 4"), is_several("4 oranges")
    (True, True, False)
    """
    return bool(_CONNECTIVE.search(answer))


def is_equal(response: str, value: int) -> bool:
    """Tell whether a response's answer is a number, exactly.

    >>> is_equal("answer 42", 42), is_equal("calculate 7 + 5", 42), is_equal("42.0", 42)
    (True, False, True)
    """
    return rational(extract(response)) == value


def last_box(text: str) -> str | None:
    r"""Find the content of the last box whose braces are balanced; None without one.

    >>> last_box(r"\boxed{\frac{1}{2}} or \boxed{3")
    '\\frac{1}{2}'
    """
    end = len(text)
    for _ in range(_MOST_BOXES):
        start, name = max((text.rfind(box, 0, end), box) for box in _BOXES)
        if start < 0:
            return None
        content = _braced(text, start + len(name))
        if content is not None:
            return content
        end = start
    return None


def _braced(text: str, start: int) -> str | None:
    r"""Read what is in the braces that open at a place, or behind a blank, as in ``\boxed 5``."""
    opening = re.compile(r"\s*").match(text, start)
    start = opening.end() if opening else start
    if text[start : start + 1] != "{":
        word = re.compile(r"[\w./-]+").match(text, start)
        return word[0].rstrip(".") if word else None
    depth = 0
    for place in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(place[0], 0)
        if depth == 0:
            return text[start + 1 : place.start()]
    return None


def _trimmed(text: str) -> str:
    text = text.strip("*` \t\r\n")
    if re.search(r"[.!]$", text):
        text = text[:-1]
    text = text.strip("*` \t\r\n")
    # Of a formula set apart, the beginning may stand on the line before.
    return re.sub(r"^\\[\[(]|(?<!\\)\\[\])]$", "", text).strip()
