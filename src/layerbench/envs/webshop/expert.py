"""A rule-based expert that uses observations alone: it searches, compares titles and buys."""

import random
import re
from dataclasses import dataclass

from layerbench.envs.types import Observation
from layerbench.envs.webshop.queries import parse_instruction
from layerbench.envs.webshop.search.tokens import terms_of

_SEPARATOR = " [SEP] "
_INSTRUCTION = re.compile(r"Instruction: \[SEP\] (?P<text>.*?) \[SEP\]")
_RESULTS = re.compile(r"\[SEP\] Page \d+ \(Total results: \d+\) \[SEP\]")
_PRICE = re.compile(r"\$([\d.]+)")
_BUY, _PREVIOUS, _NEXT = "click[buy now]", "click[< prev]", "click[next >]"
_BACK = "click[back to search]"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A product on a page of search results.

    Attributes:
        asin: The product's id, lower case, as in clicks.
        title: The product's name.
        price: Its price or the lower end of its range, in dollars.
    """

    asin: str
    title: str
    price: float


def results_on(text: str) -> list[SearchResult]:
    """Parse a page of results in the mode ``text``; return [] for any other page."""
    page = _RESULTS.search(text)
    if page is None:
        return []
    # After the buttons come id, title and price of each product.
    listing = text[page.end() :].partition("Next >")[2]
    parts = listing.removeprefix(_SEPARATOR).split(_SEPARATOR)
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    return [SearchResult(asin.lower(), title, _lowest(price)) for asin, title, price in triples]


class Shopper:
    """Plays one episode in the mode ``text``: ``act`` chooses, ``note`` takes in the outcome.

    It searches by the whole instruction, opens the product with the best title and price, chooses
    the options in the instruction and buys; it goes back if an option is missing. It does not read
    features and descriptions: on the embedded catalogue that costs more turns than it wins.

    Args:
        start: The first page.
        options_read: Number of options of the instruction that it reads; None for all. Of the
            others it chooses any value that the product has.
        rng: Draws these values.
    """

    def __init__(
        self,
        start: Observation,
        *,
        options_read: int | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Parse the instruction on the first page.

        Raises:
            ValueError: The page has none.
        """
        match = _INSTRUCTION.search(start.text)
        if match is None:
            raise ValueError(f"this is no first page of WebShop: '{start.text[:80]}'")
        self.instruction = parse_instruction(match["text"])
        self._terms = frozenset(terms_of(self.instruction.description))
        self._searches = list(start.choices)
        self._refused: set[str] = set()
        self._here = ""
        self._chosen: set[str] = set()
        values = self.instruction.option_values
        self._unread = () if options_read is None else values[options_read:]
        self._rng = rng or random.Random(0)
        self._drawn: dict[str, str] = {}

    def act(self, observation: Observation) -> str:
        """Choose the next action."""
        choices = observation.choices
        results = results_on(observation.text)
        if _BUY in choices:
            return self._on_item(observation)
        if results:
            return self._on_results(results)
        if any(action.startswith("search[") for action in choices):
            # The last search is repeated: there is nothing better to do.
            return self._searches.pop(0) if len(self._searches) > 1 else self._searches[0]
        # A sub-page of a product, or a page of results after the last product.
        return _PREVIOUS if _PREVIOUS in choices and _NEXT not in choices else _BACK

    def note(self, action: str, answer: Observation) -> None:
        """Take in the outcome of an action, whether chosen by ``act`` or not."""
        argument = action.removeprefix("click[").removesuffix("]")
        if _RESULTS.search(answer.text) or "[SEP] Back to Search" not in answer.text:
            self._here, self._chosen, self._drawn = "", set(), {}
        elif not self._here:
            self._here = argument
        else:
            wanted = {v: self._drawn.get(v, v) for v in self.instruction.option_values}
            self._chosen |= {value for value, drawn in wanted.items() if drawn == argument}

    def _on_results(self, results: list[SearchResult]) -> str:
        """Open the affordable product that shares most words with the instruction."""
        best = max(results, key=self._preference)
        return _NEXT if best.asin in self._refused else f"click[{best.asin}]"

    def _preference(self, result: SearchResult) -> tuple[bool, bool, int]:
        return (
            result.asin not in self._refused,
            result.price <= self.instruction.price_limit,
            len(self._terms & frozenset(terms_of(result.title))),
        )

    def _on_item(self, observation: Observation) -> str:
        values = [v for v in self.instruction.option_values if v not in self._chosen]
        if any(f"click[{value}]" not in observation.choices for value in values):
            self._refused.add(self._here)
            return _PREVIOUS
        return f"click[{self._wanted_of(values[0], observation)}]" if values else _BUY

    def _wanted_of(self, value: str, observation: Observation) -> str:
        """Give a value that it reads; of an option that it does not, draw one of the product's."""
        if value not in self._unread:
            return value
        if value not in self._drawn:
            self._drawn[value] = self._rng.choice(_values_beside(value, observation))
        return self._drawn[value]


def _values_beside(value: str, observation: Observation) -> list[str]:
    """List the values of an option of which one is known, in the order of the page."""
    values: list[str] = []
    for part in observation.text.lower().split(_SEPARATOR.lower()):
        if f"click[{part}]" in observation.choices:
            values.append(part)
        # The name of an option, or the title, cannot be clicked.
        elif value in values:
            return values
        else:
            values = []
    return values


def _lowest(price_tag: str) -> float:
    match = _PRICE.search(price_tag)
    return float(match[1]) if match else float("inf")
