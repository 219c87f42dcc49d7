"""The embedded model's prompt for WebShop: the page in few words, then what was asked for."""

import math
import re
from collections.abc import Sequence

from layerbench.envs.types import Observation

_SEPARATOR = " [SEP] "
_INSTRUCTION = re.compile(r"Instruction: \[SEP\] (?P<text>.*?) \[SEP\]")
_DOLLARS = re.compile(r"\$([\d.]+)(?: to \$[\d.]+)?")
_LIMIT = re.compile(r",? and price lower than ([\d.]+) dollars")
# What is the same on every page: the rest can do without it.
_ALWAYS_THERE = frozenset(
    (
        *("Back to Search", "< Prev", "Next >", "Rating: N.A.", "Search", "Buy Now"),
        *("Description", "Features", "Reviews", "Attributes"),
    )
)
_TOTAL = re.compile(r" \(Total results: \d+\)")
_STEP = 10


class CompactWebShopStyle:
    """WebShop in few words, for a model with a vocabulary of a few hundred.

    Prices are rounded up to whole tens, which tells them from a limit as the whole price would,
    since limits are whole tens.
    """

    system = ""

    def first(self, start: Observation) -> str:
        """Give what was asked for."""
        return f"{_asked(start)}."

    def later(self, start: Observation, now: Observation) -> str:
        """Give the page and what was asked for."""
        return f"{_page(now)}. {_asked(start)}."

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        now: Observation,
        turn: int,
    ) -> str:
        """Give the last turns and the present page."""
        if turn == 0:
            return self.first(start)
        told = [f"{_page(seen)}. {action}." for seen, action in history]
        return " ".join([*told, self.later(start, now)])


def _asked(start: Observation) -> str:
    found = _INSTRUCTION.search(start.text)
    instruction = found["text"] if found else start.text
    return _LIMIT.sub(lambda limit: f", limit {_tens(limit[1])}", instruction)


def _page(now: Observation) -> str:
    parts = now.text.split(_SEPARATOR)
    if parts[0] not in ("Instruction:", "WebShop"):
        return parts[0]  # Something was bought, and nobody is asked any more.
    # The instruction follows anyway.
    parts = parts[parts.index("Instruction:") + 2 :]
    kept = [_TOTAL.sub("", part) for part in parts if part not in _ALWAYS_THERE]
    return _DOLLARS.sub(lambda price: _tens(price[1]), "; ".join(kept) or "Search")


def _tens(dollars: str) -> str:
    return str(math.ceil(float(dollars.rstrip(".")) / _STEP) * _STEP)
