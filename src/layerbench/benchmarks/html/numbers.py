"""Numbers as the page writes them: no more digits than the data support."""

import math

from layerbench.benchmarks.stats.success import Count, Estimate, Interval

MINUS = "\N{MINUS SIGN}"


def rate(count: Count) -> str:
    """Write a success rate.

    >>> rate(Count(planned=8, failed=0, successes=1))
    '0.12'
    """
    return f"{count.rate:.2f}"


def won(count: Count) -> str:
    """Write the counts behind a rate.

    >>> won(Count(planned=8, failed=0, successes=1))
    '1/8'
    """
    return f"{count.successes}/{count.planned}"


def span(interval: Interval, digits: int = 2) -> str:
    """Write the ends of an interval, if it has a width.

    >>> span(Interval(0.126, math.inf)), span(Interval(0.0, 0.0))
    ('0.13 to ∞', 'no interval')
    """
    if interval.is_point:
        return "no interval"
    return f"{number(interval.low, digits)} to {number(interval.high, digits)}"


def estimate(value: Estimate) -> str:
    """Write a number with its interval.

    >>> estimate(Estimate(0.5, Interval(0.25, 0.75)))
    '0.50 (0.25 to 0.75)'
    """
    return f"{number(value.value)} ({span(value.interval)})"


def number(value: float, digits: int = 2) -> str:
    """Write a share or a contribution.

    >>> number(-0.001), number(math.inf)
    ('0.00', '∞')
    """
    if math.isinf(value):
        return f"{MINUS}∞" if value < 0 else "∞"
    text = f"{value:.{digits}f}"
    # After rounding, so that -0.001 does not become -0.00.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def gain(estimate: Estimate) -> str:
    """Write a difference with its sign.

    >>> gain(Estimate(0.25, Interval(0.1, 0.4)))
    '+0.25'
    """
    # A sign before a difference that rounds to 0 would claim a direction.
    text = number(estimate.value)
    return text if text.startswith(MINUS) or text == "0.00" else f"+{text}"


def share(value: float) -> str:
    """Write a share of parameters; the smallest selection still shows a digit.

    >>> share(0.0492), share(0.0003), share(1.0)
    ('4.9%', '0.03%', '100%')
    """
    percent = 100 * value
    digits = 0 if percent in (0.0, 100.0) else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f}%"


def ratio(value: float | None) -> str:
    """Write a cost as a multiple of full training's.

    >>> ratio(0.456), ratio(None)
    ('0.46', 'unknown')
    """
    return "unknown" if value is None else f"{value:.2f}"


def moved(value: float) -> str:
    """Write a relative movement, whose size spans orders of magnitude.

    >>> moved(0.034567), moved(0.00012)
    ('0.035', '0.00012')
    """
    return f"{value:.2g}"
