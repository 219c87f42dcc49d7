"""Prompts of the embedded WebShop model: the page in few words, then the instruction."""

import math
import re
from collections.abc import Sequence

from layerbench.envs.types import Observation

_SEPARATOR = " [SEP] "
_INSTRUCTION = re.compile(r"Instruction: \[SEP\] (?P<text>.*?) \[SEP\]")
_DOLLARS = re.compile(r"\$([\d.]+)(?: to \$[\d.]+)?")
_LIMIT = re.compile(r",? and price lower than ([\d.]+) dollars")
# The same on every page, so that it tells the model nothing.
_BOILERPLATE = frozenset(
    (
        *("Back to Search", "< Prev", "Next >", "Rating: N.A.", "Search", "Buy Now"),
        *("Description", "Features", "Reviews", "Attributes"),
    )
)
_TOTAL = re.compile(r" \(Total results: \d+\)")
_PRICE_STEP = 10


class CompactWebShopStyle:
    """WebShop in few words, for a model with a vocabulary of a few hundred.

    Prices are rounded up to whole tens of dollars. Limits are whole tens, so a rounded price
    compares with a limit as the exact price does.
    """

    system = ""

    def first(self, start: Observation) -> str:
        """Show the instruction."""
        return f"{_instruction(start)}."

    def later(self, start: Observation, observation: Observation) -> str:
        """Show the page and the instruction."""
        return f"{_page(observation)}. {_instruction(start)}."

    def window(
        self,
        start: Observation,
        history: Sequence[tuple[Observation, str]],
        observation: Observation,
        turn: int,
    ) -> str:
        """Show the last turns and the latest page."""
        if turn == 0:
            return self.first(start)
        past = [f"{_page(before)}. {action}." for before, action in history]
        return " ".join([*past, self.later(start, observation)])


def _instruction(start: Observation) -> str:
    match = _INSTRUCTION.search(start.text)
    instruction = match["text"] if match else start.text
    return _LIMIT.sub(lambda limit: f", limit {_tens(limit[1])}", instruction)


def _page(observation: Observation) -> str:
    parts = observation.text.split(_SEPARATOR)
    if parts[0] not in ("Instruction:", "WebShop"):
        return parts[0]  # The page after a purchase, which has no instruction.
    # Every message ends with the instruction, so it is cut from the page.
    parts = parts[parts.index("Instruction:") + 2 :]
    kept = [_TOTAL.sub("", part) for part in parts if part not in _BOILERPLATE]
    return _DOLLARS.sub(lambda price: _tens(price[1]), "; ".join(kept) or "Search")


def _tens(dollars: str) -> str:
    return str(math.ceil(float(dollars.rstrip(".")) / _PRICE_STEP) * _PRICE_STEP)
