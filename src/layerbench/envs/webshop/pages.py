"""The shop's pages: their texts and what can be clicked.

The texts and their order are those that the original's parser finds in its HTML.
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
# Flask's escapes in JSON for characters with a meaning in HTML.
_HTML_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})


class PieceKind(Enum):
    """The kind of a piece of text on a page."""

    PLAIN = "plain"
    BUTTON = "button"
    OPTION = "option"
    PRODUCT = "product"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a page.

    Attributes:
        path: The page's name in its URL; empty for the first page.
        keywords: The words of the last search.
        page_number: Number of the page of results, from 1.
        product: Number of the product shown, or -1.
        label: The sub-page shown, one of ``SUB_PAGES``, or empty.
    """

    path: str = ""
    keywords: tuple[str, ...] = ()
    page_number: int = 1
    product: int = -1
    label: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text on a page, as the HTML parser returns it: not empty."""

    kind: PieceKind
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A page without the instruction, so that all sessions share it.

    Attributes:
        title: The text above the instruction; empty on all pages but the first.
        pieces: The texts after the instruction, in order.
        text: The same texts joined, as in the mode ``text``.
        clickables: The texts that can be clicked, lower case, in order.
        products: The products' numbers by their clickable texts.
        option_names: The options' names by their values' clickable texts.
        has_search_bar: Whether the page has a search bar.
        has_instruction: Whether the page shows the instruction.
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
    """Make the first page of every episode."""
    page = _page([Piece(PieceKind.BUTTON, "Search")], [SEARCH])
    return replace(page, title="WebShop", has_search_bar=True)


def results(products: Mapping[int, Product], *, number: int, total: int) -> Page:
    """Make a page of search results.

    Args:
        products: The products on this page by number, best first.
        number: Number of the page, from 1.
        total: Number of products found.
    """
    pieces = [Piece(PieceKind.BUTTON, "Back to Search")]
    pieces += _plain(f"Page {number} (Total results: {total})")
    clickables = [BACK]
    if number > 1:
        pieces.append(Piece(PieceKind.BUTTON, "< Prev"))
        clickables.append(PREVIOUS)
    # The original shows this button after the last page, too.
    pieces.append(Piece(PieceKind.BUTTON, "Next >"))
    clickables.append(NEXT)
    for product in products.values():
        pieces.append(Piece(PieceKind.PRODUCT, product.asin))
        pieces += _plain(product.title, product.price_tag)
    links = {product.asin.lower(): index for index, product in products.items()}
    return _page(pieces, [*clickables, *links], products=links)


def item(product: Product, *, show_attributes: bool) -> Page:
    """Make a product's page."""
    pieces = [Piece(PieceKind.BUTTON, "Back to Search"), Piece(PieceKind.BUTTON, "< Prev")]
    names: dict[str, str] = {}
    for name, values in product.options.items():
        pieces += _plain(name)
        pieces += [Piece(PieceKind.OPTION, text) for value in values if (text := _as_parsed(value))]
        names |= dict.fromkeys(values, name)
    pieces += _plain(product.title, f"Price: {product.price_tag}", "Rating: N.A.")
    shown = SUB_PAGES if show_attributes else SUB_PAGES[:-1]
    pieces += [Piece(PieceKind.BUTTON, label) for label in (*shown, "Buy Now")]
    # dict.fromkeys below: a value with the name of a button is listed once.
    buttons = [BACK, PREVIOUS, *(label.lower() for label in shown), BUY]
    return _page(pieces, list(dict.fromkeys([*buttons, *names])), option_names=names)


def sub_page(product: Product, label: str) -> Page:
    """Make one of ``SUB_PAGES`` of a product. Reviews are empty: they were not published."""
    pieces = [Piece(PieceKind.BUTTON, "Back to Search"), Piece(PieceKind.BUTTON, "< Prev")]
    if label == "Description":
        pieces += _plain(product.description)
    elif label == "Features":
        # The original's HTML has a space before each entry.
        pieces += _plain(*(f" {bullet}" for bullet in product.bullets))
    elif label == "Attributes":
        pieces += _plain(*(f" {attribute}" for attribute in product.attributes))
        pieces += _plain(product.category, product.query, product.product_category)
    return _page(pieces, [BACK, PREVIOUS])


def done(asin: str, chosen: Mapping[str, str], score: float) -> Page:
    """Make the page after a purchase, with the fields of the original's user study."""
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
        ("instuction text", "category"),  # The original's spelling.
        ("product category", "query"),
        ("Goal ", "None"),
        ("Reward", "Your score (min 0.0, max 1.0)"),
        (str(score), "Reward Details "),
    )
    texts = [text for field in fields for text in field]
    return replace(_page(_plain(*texts, "None"), []), has_instruction=False)


def plain_text(page: Page, instruction: str) -> str:
    """Write a page in the mode ``text``: its pieces between separators."""
    if not page.has_instruction:
        return page.text
    heading = [page.title, "Instruction:"] if page.title else ["Instruction:"]
    parsed = [text.strip()] if (text := _as_parsed(instruction)) else []
    return _SEPARATOR.join([*heading, *parsed, page.text])


def rich_text(page: Page, instruction: str, *, opened: Collection[str], url: str) -> str:
    """Write a page in the mode ``text_rich``: one piece a line, with buttons marked.

    Args:
        page: The page.
        instruction: The goal's instruction.
        opened: Ids of the products that were opened.
        url: The page's URL; an option counts as clicked if it is there in quotes.
    """
    clicked_options: list[str] = []
    lines: list[str] = []
    if page.has_instruction:
        lines += [page.title, "Instruction: "] if page.title else ["Instruction:"]
        lines += [text] if (text := _as_parsed(instruction)) else []
    for piece in page.pieces:
        clicked = _is_clicked(piece, opened, url)
        if clicked and piece.kind is PieceKind.OPTION:
            clicked_options.insert(0, f"You have clicked {piece.text}.")
        lines.append(_MARKS[piece.kind, clicked].format(piece.text))
    return "".join(f"{line}\n" for line in [*clicked_options, *lines])


_SEPARATOR = " [SEP] "
_MARKS = {
    (PieceKind.PLAIN, False): "{}",
    (PieceKind.BUTTON, False): "[button] {} [button_]",
    (PieceKind.OPTION, False): "  [button] {} [button_]",
    (PieceKind.OPTION, True): "  [clicked button] {} [clicked button_]",
    (PieceKind.PRODUCT, False): "\n[button] {} [button_]",
    (PieceKind.PRODUCT, True): "\n[clicked button] {} [clicked button_]",
}


def _is_clicked(piece: Piece, opened: Collection[str], url: str) -> bool:
    if piece.kind is PieceKind.OPTION:
        return f'"{piece.text}"' in url
    return piece.kind is PieceKind.PRODUCT and piece.text in opened


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
    return [Piece(PieceKind.PLAIN, parsed) for text in texts if (parsed := _as_parsed(text))]


def _as_parsed(text: str) -> str:
    """Return a text as the original's HTML parser does.

    Text of white space alone becomes one space, or is left out if it has a line break.
    """
    if text.strip(_HTML_SPACES):
        return text
    return "" if "\n" in text else text[:1] and " "
