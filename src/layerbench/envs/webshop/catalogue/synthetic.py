"""Generates the embedded catalogue, ``webshop-synth``, from a seed.

It has the files, the schema and the statistics of WebShop's small catalogue (Yao et al. 2022,
arXiv:2207.01206): the same numbers of products, categories, options and instructions. Its text is
our own, so scores on it are never comparable with published ones.
"""

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerbench.envs.cache import cache_dir, make_once
from layerbench.envs.webshop.catalogue import index, published, synthetic_words

SOURCE = "webshop-synth"
"""Name of the catalogue in records: its scores never share a table with published ones."""

VERSION = 1
"""Raised with every change of the text or order of products."""

NUM_PRODUCTS = 1000

_PRODUCTS_FILE, _ATTRIBUTES_FILE = "items_shuffle_1000.json", "items_ins_v2_1000.json"
# By number of options, of 1,000 products: how many there are, how many of them are in the category
# fashion, and how many have an instruction. Counted in the published small catalogue.
_OPTION_COUNTS = {3: (13, 13, 9), 2: (165, 120, 120), 1: (245, 67, 130), 0: (577, 0, 156)}
# Probability that an attribute is mentioned only in a later feature, which search ignores.
_HIDDEN_SHARE = 0.4
_NO_PRICE_SHARE, _PRICE_RANGE_SHARE = 0.09, 0.09


@dataclass(frozen=True, slots=True)
class _Plan:
    """The properties of a product that are drawn before its words."""

    asin: str
    category: str
    num_options: int
    has_instruction: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """A product's words; see ``synthetic_words.Department``.

    Attributes:
        subcategory: The second level of its category path.
        kind: The kind of product, in the singular.
        brand: An invented brand.
        qualities: Attributes that stand before the kind.
        parts: Attributes that stand after "with".
        uses: Attributes that stand after "for".
        in_title: Attributes that the title mentions.
        in_description: Attributes that the description mentions.
    """

    subcategory: str
    kind: str
    brand: str
    qualities: tuple[str, ...]
    parts: tuple[str, ...]
    uses: tuple[str, ...]
    in_title: frozenset[str]
    in_description: frozenset[str]

    @property
    def attributes(self) -> tuple[str, ...]:
        return (*self.qualities, *self.parts, *self.uses)


def ensure_index() -> Path:
    """Build the index of the embedded catalogue, unless it exists; return its folder.

    Raises:
        CacheError: The cache cannot be written.
    """
    folder = cache_dir() / "webshop" / f"{SOURCE}-{VERSION}.{index.FORMAT}"

    def build(empty: Path) -> None:
        with tempfile.TemporaryDirectory() as files:
            write(Path(files), num_products=NUM_PRODUCTS, seed=0)
            index.build(empty, published.find_files(Path(files)), about={})

    make_once(folder, build)
    return folder


def write(folder: Path, *, num_products: int, seed: int) -> None:
    """Write a catalogue's files: products, attributes with instructions, nouns of the titles.

    Args:
        folder: Folder of the files, which have their official names.
        num_products: Number of products; shares of categories and options stay the same.
        seed: Seed of all draws.
    """
    attributes: dict[str, Any] = {}
    nouns: dict[str, list[str]] = {}
    with (folder / _PRODUCTS_FILE).open("w", encoding="utf-8") as file:
        for number, plan in enumerate(_plans(num_products, seed)):
            # One generator a product, so that a product's words do not depend on the others'.
            rng = random.Random(f"product|{seed}|{number}")
            draft = _draft(plan, rng)
            product = _product(plan, draft, rng)
            attributes[plan.asin] = _attributes(plan, draft, rng)
            nouns[product["name"]] = _nouns(draft)
            file.write(f"{',' if number else '['}\n{json.dumps(product, ensure_ascii=False)}")
        file.write("\n]\n")
    (folder / _ATTRIBUTES_FILE).write_text(json.dumps(attributes))
    (folder / published.NOUNS_FILE).write_text(json.dumps(nouns))


def _plans(num_products: int, seed: int) -> Iterator[_Plan]:
    """Draw category, number of options and existence of an instruction, in shuffled order."""
    # The order of the draws is part of the catalogue: see VERSION.
    rng = random.Random(f"plans|{seed}")
    shares = {name: department.share for name, department in synthetic_words.DEPARTMENTS.items()}
    categories = _allot(shares, num_products)
    num_fashion = categories.count("fashion")
    counts = _OPTION_COUNTS.items()
    fashion = _allot({options: worn for options, (_, worn, _) in counts}, num_fashion)
    other = _allot(
        {options: total - worn for options, (total, worn, _) in counts}, num_products - num_fashion
    )
    for option_counts in (fashion, other):
        rng.shuffle(option_counts)
    drawn = [
        (category, fashion.pop() if category == "fashion" else other.pop())
        for category in categories
    ]
    rng.shuffle(drawn)
    with_instruction = _with_instruction([num_options for _, num_options in drawn], rng)
    names = _ids(num_products, rng)
    for number, (category, num_options) in enumerate(drawn):
        yield _Plan(names[number], category, num_options, number in with_instruction)


def _allot(shares: Mapping[Any, int], count: int) -> list[Any]:
    """Repeat each key by its share of a count; the first key fills what rounding leaves."""
    total = sum(shares.values())
    allotted = [key for key, share in shares.items() for _ in range(count * share // total)]
    return [next(iter(shares))] * (count - len(allotted)) + allotted


def _with_instruction(option_counts: Sequence[int], rng: random.Random) -> set[int]:
    """Draw the numbers of the products with an instruction: more of those with options."""
    drawn: set[int] = set()
    for num_options, (total, _, instructed) in _OPTION_COUNTS.items():
        numbers = [number for number, count in enumerate(option_counts) if count == num_options]
        drawn.update(rng.sample(numbers, len(numbers) * instructed // total))
    return drawn


def _ids(count: int, rng: random.Random) -> list[str]:
    """Make ids of two words each, or numbered ones if there are too few pairs of words."""
    pairs = [
        f"{start}-{end}".upper()
        for start in synthetic_words.ID_STARTS
        for end in synthetic_words.ID_ENDS
    ]
    rng.shuffle(pairs)
    return pairs[:count] if count <= len(pairs) else [f"S{number:09d}" for number in range(count)]


def _draft(plan: _Plan, rng: random.Random) -> _Draft:
    department = synthetic_words.DEPARTMENTS[plan.category]
    subcategory = rng.choice(list(department.kinds))
    qualities = tuple(rng.sample(department.qualities, rng.randint(2, 4)))
    parts = tuple(rng.sample(department.parts, rng.randint(1, 2)))
    uses = tuple(rng.sample(department.uses, rng.randint(1, 2)))
    shown = [a for a in (*qualities, *parts, *uses) if rng.random() >= _HIDDEN_SHARE]
    in_title = [*shown[:2], *(use for use in uses[:1] if use in shown)]
    return _Draft(
        subcategory=subcategory,
        kind=rng.choice(department.kinds[subcategory]),
        brand=rng.choice(synthetic_words.BRANDS),
        qualities=qualities,
        parts=parts,
        uses=uses,
        in_title=frozenset(in_title),
        in_description=frozenset(shown) - frozenset(in_title),
    )


def _product(plan: _Plan, draft: _Draft, rng: random.Random) -> dict[str, Any]:
    """Write a product in the published schema."""
    shown = draft.in_title | draft.in_description
    hidden = [attribute for attribute in draft.attributes if attribute not in shown]
    options = _options(plan, rng)
    return {
        "name": _phrase(draft, draft.in_title, f"{draft.brand} ", draft.kind).title(),
        "full_description": _description(draft, rng),
        "pricing": _pricing(plan, draft, rng),
        "images": [""],
        "product_category": f"{plan.category.title()} \u203a {draft.subcategory} \u203a "
        f"{synthetic_words.plural(draft.kind).title()}",
        "average_rating": "",
        "small_description": [
            # Search looks at this first feature alone, so that the others hide their attributes.
            f"{synthetic_words.plural(draft.kind).capitalize()} by {draft.brand}",
            *(attribute.capitalize() for attribute in hidden),
            rng.choice(synthetic_words.CLOSERS),
        ],
        "customization_options": options or "",
        "asin": plan.asin,
        "category": plan.category,
        "query": synthetic_words.plural(draft.kind),
        "page": 1,
    }


def _phrase(draft: _Draft, attributes: frozenset[str], opening: str, kind: str) -> str:
    """Write a kind with some attributes, such as "slim fit shirt with cotton lining"."""
    qualities = ", ".join(quality for quality in draft.qualities if quality in attributes)
    parts = ", ".join(part for part in draft.parts if part in attributes)
    uses = ", ".join(use for use in draft.uses if use in attributes)
    words = f"{opening}{qualities} {kind}" if qualities else f"{opening}{kind}"
    return words + (f" with {parts}" if parts else "") + (f" for {uses}" if uses else "")


def _description(draft: _Draft, rng: random.Random) -> str:
    opening = f"{rng.choice(synthetic_words.OPENERS)} "
    phrase = _phrase(draft, draft.in_description, opening, draft.kind)
    return f"{phrase}. {rng.choice(synthetic_words.CLOSERS)}"


def _pricing(plan: _Plan, draft: _Draft, rng: random.Random) -> str:
    """Write a price, a range of prices or none; products of a kind have similar prices."""
    low, high = synthetic_words.DEPARTMENTS[plan.category].prices
    # Squared, so that cheap kinds are more frequent.
    usual = low + (high - low) * random.Random(f"price|{draft.kind}").random() ** 2
    price = usual * rng.uniform(0.7, 1.5)
    draw = rng.random()
    if draw < _NO_PRICE_SHARE:
        return ""
    if draw < _NO_PRICE_SHARE + _PRICE_RANGE_SHARE:
        return f"${price:,.2f}${price * rng.uniform(1.1, 1.4):,.2f}"
    return f"${price:,.2f}"


def _options(plan: _Plan, rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Draw options and their values, in the order of ``synthetic_words``."""
    names = synthetic_words.DEPARTMENTS[plan.category].options[: plan.num_options]
    if plan.num_options == 1 and plan.category != "fashion":
        names = (rng.choice(synthetic_words.DEPARTMENTS[plan.category].options[:2]),)
    options: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        values = synthetic_words.OPTION_VALUES[name]
        fewest, most = synthetic_words.VALUE_COUNTS.get(name, synthetic_words.DEFAULT_VALUE_COUNT)
        chosen = set(rng.sample(values, rng.randint(fewest, most)))
        options[name.title()] = [
            {"value": value.title(), "image": None} for value in values if value in chosen
        ]
    return options


def _attributes(plan: _Plan, draft: _Draft, rng: random.Random) -> dict[str, Any]:
    """Write a product's entry in the file of attributes, with its instruction if it has one."""
    entry: dict[str, Any] = {"attributes": list(draft.attributes)}
    if plan.has_instruction:
        count = min(rng.randint(2, 4), len(draft.attributes))
        required = frozenset(rng.sample(draft.attributes, count))
        plural = synthetic_words.plural(draft.kind)
        entry["instruction"] = _phrase(draft, required, "Find me ", plural)
        entry["instruction_attributes"] = [a for a in draft.attributes if a in required]
    return entry


def _nouns(draft: _Draft) -> list[str]:
    """List the nouns of the title: all its words except those of qualities."""
    in_title = [a for a in (*draft.parts, *draft.uses) if a in draft.in_title]
    return " ".join([draft.brand, draft.kind, *in_title]).lower().split()
