"""Products made from a seed: the embedded catalogue, called ``webshop-synth``.

It has the files, the schema and the shape of WebShop's small catalogue (Yao et al. 2022,
arXiv:2207.01206): as many products, categories, option groups and instructions. Its text is our
own, so scores on it are never comparable with published ones.
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
"""Label of the generated catalogue: its scores never share a table with published ones."""

VERSION = 1
"""Changes whenever the text of a product or its order does."""

NUM_PRODUCTS = 1000

_PRODUCTS_FILE, _ATTRIBUTES_FILE = "items_shuffle_1000.json", "items_ins_v2_1000.json"
# Of 1,000 products, by the number of their option groups: how many there are, how many of them
# are clothes, and how many have an instruction.
_OPTION_GROUPS = {3: (13, 13, 9), 2: (165, 120, 120), 1: (245, 67, 130), 0: (577, 0, 156)}
# Chance that an attribute is told only where search does not look, in a later feature.
_HIDDEN = 0.4
_NO_PRICE, _PRICE_RANGE = 0.09, 0.09


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is settled about a product before its words are drawn."""

    asin: str
    category: str
    num_options: int
    has_wish: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """A product's words.

    Attributes:
        shelf: Where its kind stands.
        kind: In the singular.
        brand: Made up.
        qualities: Attributes by how they are said; so are the next two.
        parts: See ``wares.Department``.
        uses: See ``wares.Department``.
        titled: Attributes that its title tells.
        told: Attributes that its description tells.
    """

    shelf: str
    kind: str
    brand: str
    qualities: tuple[str, ...]
    parts: tuple[str, ...]
    uses: tuple[str, ...]
    titled: frozenset[str]
    told: frozenset[str]

    @property
    def attributes(self) -> tuple[str, ...]:
        return (*self.qualities, *self.parts, *self.uses)


def stocked() -> Path:
    """Fill the folder of the embedded catalogue, unless that was done before.

    Raises:
        CacheError: The cache cannot be written.
    """
    folder = cache_dir() / "webshop" / f"{SOURCE}-{VERSION}.{index.FORMAT}"

    def build(empty: Path) -> None:
        with tempfile.TemporaryDirectory() as files:
            write(Path(files), num_products=NUM_PRODUCTS, seed=0)
            index.fill(empty, published.find_files(Path(files)), source=SOURCE, about={})

    make_once(folder, build)
    return folder


def write(folder: Path, *, num_products: int, seed: int) -> None:
    """Write a catalogue's files: products, attributes with instructions, nouns of the titles.

    Args:
        folder: Where they go, under their official names.
        num_products: How many; shares of categories and options stay the same.
        seed: Of everything.
    """
    known: dict[str, Any] = {}
    nouns: dict[str, list[str]] = {}
    with (folder / _PRODUCTS_FILE).open("w", encoding="utf-8") as file:
        for number, plan in enumerate(_plans(num_products, seed)):
            rng = random.Random(f"product|{seed}|{number}")
            draft = _draft(plan, rng)
            product = _product(plan, draft, rng)
            known[plan.asin] = _known(plan, draft, rng)
            nouns[product["name"]] = _nouns(draft)
            file.write(f"{',' if number else '['}\n{json.dumps(product, ensure_ascii=False)}")
        file.write("\n]\n")
    (folder / _ATTRIBUTES_FILE).write_text(json.dumps(known))
    (folder / published.NOUNS_FILE).write_text(json.dumps(nouns))


def _plans(num_products: int, seed: int) -> Iterator[_Plan]:
    """Settle category, number of options and instruction of each product, in a shuffled order."""
    rng = random.Random(f"plans|{seed}")
    shares = {name: department.share for name, department in synthetic_words.DEPARTMENTS.items()}
    categories = _dealt(shares, num_products)
    clothes = categories.count("fashion")
    groups = _OPTION_GROUPS.items()
    worn = _dealt({number: of for number, (_, of, _) in groups}, clothes)
    other = _dealt({number: all_ - of for number, (all_, of, _) in groups}, num_products - clothes)
    for options in (worn, other):
        rng.shuffle(options)
    dealt = [
        (category, worn.pop() if category == "fashion" else other.pop()) for category in categories
    ]
    rng.shuffle(dealt)
    wishes = _wishes([number for _, number in dealt], rng)
    names = _ids(num_products, rng)
    for number, (category, num_options) in enumerate(dealt):
        yield _Plan(names[number], category, num_options, number in wishes)


def _dealt(shares: Mapping[Any, int], count: int) -> list[Any]:
    """Repeat each key by its share of a count; what rounding leaves over goes to the first."""
    whole = sum(shares.values())
    dealt = [key for key, share in shares.items() for _ in range(count * share // whole)]
    return [next(iter(shares))] * (count - len(dealt)) + dealt


def _wishes(options: Sequence[int], rng: random.Random) -> set[int]:
    """Choose which products have an instruction: more of those with options."""
    chosen: set[int] = set()
    for number, (there_are, _, wished) in _OPTION_GROUPS.items():
        places = [place for place, of in enumerate(options) if of == number]
        chosen.update(rng.sample(places, len(places) * wished // there_are))
    return chosen


def _ids(count: int, rng: random.Random) -> list[str]:
    """Name products by two words, or by number if there are more than pairs of words."""
    pairs = [
        f"{start}-{end}".upper()
        for start in synthetic_words.ID_STARTS
        for end in synthetic_words.ID_ENDS
    ]
    rng.shuffle(pairs)
    return pairs[:count] if count <= len(pairs) else [f"S{number:09d}" for number in range(count)]


def _draft(plan: _Plan, rng: random.Random) -> _Draft:
    department = synthetic_words.DEPARTMENTS[plan.category]
    shelf = rng.choice(list(department.kinds))
    qualities = tuple(rng.sample(department.qualities, rng.randint(2, 4)))
    parts = tuple(rng.sample(department.parts, rng.randint(1, 2)))
    uses = tuple(rng.sample(department.uses, rng.randint(1, 2)))
    shown = [a for a in (*qualities, *parts, *uses) if rng.random() >= _HIDDEN]
    titled = [*shown[:2], *(use for use in uses[:1] if use in shown)]
    return _Draft(
        shelf=shelf,
        kind=rng.choice(department.kinds[shelf]),
        brand=rng.choice(synthetic_words.BRANDS),
        qualities=qualities,
        parts=parts,
        uses=uses,
        titled=frozenset(titled),
        told=frozenset(shown) - frozenset(titled),
    )


def _product(plan: _Plan, draft: _Draft, rng: random.Random) -> dict[str, Any]:
    """Write a product in the published schema."""
    shown = frozenset((*draft.titled, *draft.told))
    hidden = [attribute for attribute in draft.attributes if attribute not in shown]
    options = _options(plan, rng)
    return {
        "name": _phrase(draft, draft.titled, f"{draft.brand} ", draft.kind).title(),
        "full_description": _description(draft, rng),
        "pricing": _pricing(plan, draft, rng),
        "images": [""],
        "product_category": f"{plan.category.title()} \u203a {draft.shelf} \u203a "
        f"{synthetic_words.plural(draft.kind).title()}",
        "average_rating": "",
        "small_description": [
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


def _phrase(draft: _Draft, told: frozenset[str], opening: str, kind: str) -> str:
    """Say some of the attributes around the kind, as in "slim fit shirt with cotton lining"."""
    qualities = ", ".join(quality for quality in draft.qualities if quality in told)
    parts = ", ".join(part for part in draft.parts if part in told)
    uses = ", ".join(use for use in draft.uses if use in told)
    words = f"{opening}{qualities} {kind}" if qualities else f"{opening}{kind}"
    return words + (f" with {parts}" if parts else "") + (f" for {uses}" if uses else "")


def _description(draft: _Draft, rng: random.Random) -> str:
    opening = f"{rng.choice(synthetic_words.OPENERS)} "
    return (
        f"{_phrase(draft, draft.told, opening, draft.kind)}. {rng.choice(synthetic_words.CLOSERS)}"
    )


def _pricing(plan: _Plan, draft: _Draft, rng: random.Random) -> str:
    """Write a price, a range of prices or none; products of a kind cost about the same."""
    low, high = synthetic_words.DEPARTMENTS[plan.category].prices
    usual = low + (high - low) * random.Random(f"price|{draft.kind}").random() ** 2
    price = usual * rng.uniform(0.7, 1.5)
    chance = rng.random()
    if chance < _NO_PRICE:
        return ""
    if chance < _NO_PRICE + _PRICE_RANGE:
        return f"${price:,.2f}${price * rng.uniform(1.1, 1.4):,.2f}"
    return f"${price:,.2f}"


def _options(plan: _Plan, rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Draw options and their values, which stand in the order of ``wares``."""
    names = synthetic_words.DEPARTMENTS[plan.category].options[: plan.num_options]
    if plan.num_options == 1 and plan.category != "fashion":
        names = (rng.choice(synthetic_words.DEPARTMENTS[plan.category].options[:2]),)
    options: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        values = synthetic_words.OPTION_VALUES[name]
        fewest, most = synthetic_words.VALUES_OF.get(name, synthetic_words.MANY_VALUES)
        chosen = set(rng.sample(values, rng.randint(fewest, most)))
        options[name.title()] = [
            {"value": value.title(), "image": None} for value in values if value in chosen
        ]
    return options


def _known(plan: _Plan, draft: _Draft, rng: random.Random) -> dict[str, Any]:
    """Write what is known of a product beside its text, with an instruction if it has one."""
    known: dict[str, Any] = {"attributes": list(draft.attributes)}
    if plan.has_wish:
        count = min(rng.randint(2, 4), len(draft.attributes))
        asked = frozenset(rng.sample(draft.attributes, count))
        known["instruction"] = _phrase(draft, asked, "Find me ", synthetic_words.plural(draft.kind))
        known["instruction_attributes"] = [a for a in draft.attributes if a in asked]
    return known


def _nouns(draft: _Draft) -> list[str]:
    """List the nouns of the title: all its words but those of qualities."""
    titled = [a for a in (*draft.parts, *draft.uses) if a in draft.titled]
    return " ".join([draft.brand, draft.kind, *titled]).lower().split()
