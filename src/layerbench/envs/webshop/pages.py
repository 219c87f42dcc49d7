"""What is written on the shop's pages, and what can be clicked there.

The texts are those a reader of the published shop's HTML finds, in their order.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from layerbench.envs.webshop.catalogue.published import Product

SUB_PAGES = ("Description", "Features", "Reviews", "Attributes")
RESULTS_A_PAGE = 10
SEARCH, BACK, PREVIOUS, NEXT, BUY = (
    "search",
    "back to search",
    "< prev",
    "next >",
    "buy now",
)

_HTML_SPACES = " \n\t\f\r"
# Flask writes these so that they mean nothing in HTML.
_HTML_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


class Kind(Enum):
    """What a piece of text on a page is."""

    PLAIN = "plain"
    BUTTON = "button"
    OPTION = "option"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True)
class Place:
    """Which page.

    Attributes:
        path: The page's name in its address; empty for the first page.
        keywords: What was searched for.
        page_number: Of the results, from 1.
        product: Number of the product shown, or -1.
        label: Of the sub-page shown, or empty.
    """

    path: str = ""
    keywords: tuple[str, ...] = ()
    page_number: int = 1
    product: int = -1
    label: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text on a page, as the HTML parser hands it out: not empty."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """All of a page but the instruction, which differs between shoppers.

    Attributes:
        title: What stands above the instruction; empty on all pages but the first.
        pieces: What follows the instruction, in order.
        text: The same without its kinds, joined as the mode ``text`` has it.
        clickables: What can be clicked, lower case, in order.
        products: Number of the product behind a clickable.
        option_names: Name of the option of which a clickable is a value.
        has_search_bar: Whether something can be typed.
        has_instruction: Whether the instruction is shown.
    """

    title: str
    pieces: tuple[Piece, ...]
    text: str
    clickables: tuple[str, ...]
    products: Mapping[str, int]
    option_names: Mapping[str, str]
    has_search_bar: bool
    has_instruction: bool


def index() -> Page:
    """Make the page that every episode starts on."""
    page = _page([Piece(Kind.BUTTON, "Search")], [SEARCH])
    return replace(page, title="WebShop", has_search_bar=True)


def results(products: Mapping[int, Product], *, number: int, total: int) -> Page:
    """Make a page of search results.

    Args:
        products: Those on this page by their numbers, best first.
        number: Of the page, from 1.
        total: How many products were found.
    """
    pieces = [Piece(Kind.BUTTON, "Back to Search")]
    pieces += _plain(f"Page {number} (Total results: {total})")
    clickables = [BACK]
    if number > 1:
        pieces.append(Piece(Kind.BUTTON, "< Prev"))
        clickables.append(PREVIOUS)
    pieces.append(Piece(Kind.BUTTON, "Next >"))
    clickables.append(NEXT)
    for product in products.values():
        pieces.append(Piece(Kind.PRODUCT, product.asin))
        pieces += _plain(product.title, product.price_tag)
    links = {product.asin.lower(): place for place, product in products.items()}
    return _page(pieces, [*clickables, *links], products=links)


def item(product: Product, *, show_attributes: bool) -> Page:
    """Make a product's page."""
    pieces = [Piece(Kind.BUTTON, "Back to Search"), Piece(Kind.BUTTON, "< Prev")]
    names: dict[str, str] = {}
    for name, values in product.options.items():
        pieces += _plain(name)
        pieces += [Piece(Kind.OPTION, text) for value in values if (text := _as_parsed(value))]
        names |= dict.fromkeys(values, name)
    pieces += _plain(product.title, f"Price: {product.price_tag}", "Rating: N.A.")
    shown = SUB_PAGES if show_attributes else SUB_PAGES[:-1]
    pieces += [Piece(Kind.BUTTON, label) for label in (*shown, "Buy Now")]
    buttons = [BACK, PREVIOUS, *(label.lower() for label in shown), BUY]
    return _page(pieces, list(dict.fromkeys([*buttons, *names])), option_names=names)


def sub_page(product: Product, label: str) -> Page:
    """Make one of ``SUB_PAGES`` of a product. Its reviews were never published."""
    pieces = [Piece(Kind.BUTTON, "Back to Search"), Piece(Kind.BUTTON, "< Prev")]
    if label == "Description":
        pieces += _plain(product.description)
    elif label == "Features":
        pieces += _plain(*(f" {bullet}" for bullet in product.bullets))
    elif label == "Attributes":
        pieces += _plain(*(f" {attribute}" for attribute in product.attributes))
        pieces += _plain(product.category, product.query, product.product_category)
    return _page(pieces, [BACK, PREVIOUS])


def done(asin: str, chosen: Mapping[str, str], score: float) -> Page:
    """Make the page after a purchase; most of its fields are for the original's own study."""
    options = json.dumps(chosen, sort_keys=True).translate(_HTML_SAFE)
    fields: tuple[tuple[str, str], ...] = (
        ("Thank you for shopping with us!", "Your code: "),
        ("None", " (Paste it in your MTurk interface.)"),
        ("Purchased", "asin"),
        (asin, "options"),
        (options, "attrs"),
        *(("None", name) for name in ("category", "query", "product category")),
        ("None", "Target"),
        ("asin", "options"),
        ("attrs", "price upper"),
        ("instuction text", "category"),  # spelled so
        ("product category", "query"),
        ("Goal ", "None"),
        ("Reward", "Your score (min 0.0, max 1.0)"),
        (str(score), "Reward Details "),
    )
    texts = [text for field in fields for text in field]
    return replace(_page(_plain(*texts, "None"), []), has_instruction=False)


def plain_text(page: Page, instruction: str) -> str:
    """Write a page in the mode ``text``: every piece after a separator."""
    if not page.has_instruction:
        return page.text
    above = [page.title, "Instruction:"] if page.title else ["Instruction:"]
    asked = [text.strip()] if (text := _as_parsed(instruction)) else []
    return _SEPARATOR.join([*above, *asked, page.text])


def rich_text(page: Page, instruction: str, *, seen: Collection[str], url: str) -> str:
    """Write a page in the mode ``text_rich``: a line a piece, buttons marked.

    Args:
        page: The page.
        instruction: What the shopper is told.
        seen: Ids of products that were opened.
        url: An option counts as clicked if it stands there in quotes.
    """
    above: list[str] = []
    lines: list[str] = []
    if page.has_instruction:
        lines += [page.title, "Instruction: "] if page.title else ["Instruction:"]
        lines += [text] if (text := _as_parsed(instruction)) else []
    for piece in page.pieces:
        clicked = _is_clicked(piece, seen, url)
        if clicked and piece.kind is Kind.OPTION:
            above.insert(0, f"You have clicked {piece.text}.")
        lines.append(_MARKS[piece.kind, clicked].format(piece.text))
    return "".join(f"{line}\n" for line in [*above, *lines])


_SEPARATOR = " [SEP] "
_MARKS = {
    (Kind.PLAIN, False): "{}",
    (Kind.BUTTON, False): "[button] {} [button_]",
    (Kind.OPTION, False): "  [button] {} [button_]",
    (Kind.OPTION, True): "  [clicked button] {} [clicked button_]",
    (Kind.PRODUCT, False): "\n[button] {} [button_]",
    (Kind.PRODUCT, True): "\n[clicked button] {} [clicked button_]",
}


def _is_clicked(piece: Piece, seen: Collection[str], url: str) -> bool:
    if piece.kind is Kind.OPTION:
        return f'"{piece.text}"' in url
    return piece.kind is Kind.PRODUCT and piece.text in seen


def _page(
    pieces: Sequence[Piece],
    clickables: Sequence[str],
    *,
    products: Mapping[str, int] | None = None,
    option_names: Mapping[str, str] | None = None,
) -> Page:
    return Page(
        title="",
        pieces=tuple(pieces),
        text=_SEPARATOR.join(piece.text.strip() for piece in pieces),
        clickables=tuple(clickables),
        products=products or {},
        option_names=option_names or {},
        has_search_bar=False,
        has_instruction=True,
    )


def _plain(*texts: str) -> list[Piece]:
    return [Piece(Kind.PLAIN, parsed) for text in texts if (parsed := _as_parsed(text))]


def _as_parsed(text: str) -> str:
    """Give what the original's HTML parser makes of a text: white space alone is one space.

    White space with a line break in it is left out, as nothing is.
    """
    if text.strip(_HTML_SPACES):
        return text
    return "" if "\n" in text else text[:1] and " "
