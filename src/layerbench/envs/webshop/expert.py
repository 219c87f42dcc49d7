"""A demonstrator that knows only what it reads: it looks for what was asked, and buys it."""

import re
from dataclasses import dataclass

from layerbench.envs.types import Observation
from layerbench.envs.webshop.queries import take_apart
from layerbench.envs.webshop.search.tokens import terms_of

_SEPARATOR = " [SEP] "
_INSTRUCTION = re.compile(r"Instruction: \[SEP\] (?P<text>.*?) \[SEP\]")
_RESULTS = re.compile(r"\[SEP\] Page \d+ \(Total results: \d+\) \[SEP\]")
_PRICE = re.compile(r"\$([\d.]+)")
_BUY, _PREVIOUS, _NEXT = "click[buy now]", "click[< prev]", "click[next >]"
_BACK = "click[back to search]"


@dataclass(frozen=True, slots=True)
class Offer:
    """A line of the search results.

    Attributes:
        asin: Lower case, as it is clicked.
        title: The product's name.
        price: The lowest, in dollars.
    """

    asin: str
    title: str
    price: float


def offers_on(text: str) -> list[Offer]:
    """Read a page of results in the mode ``text``; empty for any other page."""
    page = _RESULTS.search(text)
    if page is None:
        return []
    # After the buttons come id, title and price of each.
    listing = text[page.end() :].partition("Next >")[2]
    parts = listing.removeprefix(_SEPARATOR).split(_SEPARATOR)
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    return [Offer(asin.lower(), title, _lowest(price)) for asin, title, price in triples]


class Shopper:
    """Plays one episode in the mode ``text``; told all that happened by ``hear``.

    It searches for all that was asked for, opens what its title and price speak for most, chooses
    what the instruction names and buys; it goes back if an option is missing. What a title leaves
    open it does not look up: on the embedded catalogue that costs more turns than it wins.
    """

    def __init__(self, start: Observation) -> None:
        """Read the instruction.

        Raises:
            ValueError: The first page shows none.
        """
        found = _INSTRUCTION.search(start.text)
        if found is None:
            raise ValueError(f"this is no first page of WebShop: '{start.text[:80]}'")
        self.asked = take_apart(found["text"])
        self._terms = frozenset(terms_of(self.asked.wanted))
        self._searches = list(start.choices)
        self._refused: set[str] = set()
        self._here = ""
        self._chosen: set[str] = set()

    def act(self, observation: Observation) -> str:
        """Choose the next action."""
        able = observation.choices
        offers = offers_on(observation.text)
        if _BUY in able:
            return self._on_item(able)
        if offers:
            return self._on_results(offers)
        if any(action.startswith("search[") for action in able):
            return self._searches.pop(0) if len(self._searches) > 1 else self._searches[0]
        # A page of a product, or results past the last.
        return _PREVIOUS if _PREVIOUS in able and _NEXT not in able else _BACK

    def hear(self, action: str, answer: Observation) -> None:
        """Take note of what an action, ours or another's, led to."""
        argument = action.removeprefix("click[").removesuffix("]")
        if _RESULTS.search(answer.text) or "[SEP] Back to Search" not in answer.text:
            self._here, self._chosen = "", set()
        elif not self._here:
            self._here = argument
        elif argument in self.asked.values:
            self._chosen.add(argument)

    def _on_results(self, offers: list[Offer]) -> str:
        """Open what shares most words with the instruction, of what can be afforded."""
        best = max(offers, key=self._appeal)
        return _NEXT if best.asin in self._refused else f"click[{best.asin}]"

    def _appeal(self, offer: Offer) -> tuple[bool, bool, int]:
        return (
            offer.asin not in self._refused,
            offer.price <= self.asked.limit,
            len(self._terms & frozenset(terms_of(offer.title))),
        )

    def _on_item(self, able: tuple[str, ...]) -> str:
        values = [value for value in self.asked.values if value not in self._chosen]
        if any(f"click[{value}]" not in able for value in values):
            self._refused.add(self._here)
            return _PREVIOUS
        return f"click[{values[0]}]" if values else _BUY


def _lowest(price_tag: str) -> float:
    found = _PRICE.search(price_tag)
    return float(found[1]) if found else float("inf")
