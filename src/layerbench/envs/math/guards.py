"""Bounds on an answer's text before a computer algebra system may see it.

Sympy computes a power of integers as it reads it, so that a line of text can fill the memory.
"""

import re

MAX_CHARS = 1_000
"""Longest answer that is compared by algebra."""

MAX_DEPTH = 20
"""Deepest nesting of brackets."""

MAX_EXPONENT = 1_000
"""Largest product of an answer's numeric exponents."""

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+|\S")
_OPENING, _CLOSING = ("{", "(", "["), ("}", ")", "]")
_LARGE = re.compile(r"\d{61}")
_FACTORIAL = re.compile(r"(?:\d{4}|[)\]}!]\s*)\s*!")
_BINOMIAL = re.compile(r"\\[dt]?binom|\\choose|\\brace")


def is_bounded(answer: str) -> bool:
    r"""Tell whether an answer may be parsed.

    >>> is_bounded(r"\frac{x^{12} - 5}{16}"), is_bounded("e^{x^2}"), is_bounded("2^{2^{10}}")
    (True, True, False)
    >>> is_bounded(r"\dfrac{5^{5^{5^{5^5}}-4}-5}{16}"), is_bounded("(9!)!"), is_bounded("9^9999")
    (False, False, False)
    """
    if len(answer) > MAX_CHARS or _LARGE.search(answer) or _FACTORIAL.search(answer):
        return False
    if _BINOMIAL.search(answer) and re.search(r"\d{4}", answer):
        return False
    tokens = _TOKEN.findall(answer.replace("**", "^").replace("\\^", "^"))
    return _is_shallow(tokens) and _has_small_exponents(tokens)


def _is_shallow(tokens: list[str]) -> bool:
    depth = 0
    for token in tokens:
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth > MAX_DEPTH:
            return False
    return True


def _has_small_exponents(tokens: list[str]) -> bool:
    """Check the exponents: no tower of numbers, and their product small."""
    product = 1
    # Of each bracket that is open: whether it is in an exponent.
    within = [False]
    previous = ""
    is_exponent = False
    for token in tokens:
        if token == "^":
            # An exponent of an exponent, as in 5^{5^5} or 5^5^5, but for a letter's: e^{x^2}.
            if (within[-1] or is_exponent) and not previous.isalpha():
                return False
            is_exponent = True
        elif token in _OPENING:
            within.append(within[-1] or previous == "^")
            is_exponent = False
        elif token in _CLOSING:
            if len(within) > 1:
                # What follows may be a power of what was the exponent: 5^{5}^{5}.
                is_exponent = within.pop() and not within[-1]
        elif token.isdigit() and (within[-1] or previous == "^"):
            product *= max(1, int(token))
        elif token not in "+-" or previous != "^":
            is_exponent = is_exponent and previous == "^"
        if product > MAX_EXPONENT:
            return False
        previous = token
    return True
