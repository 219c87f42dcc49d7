"""Pages have the texts that the original's HTML parser finds, odd ones included."""

from layerbench.envs.webshop import pages
from layerbench.envs.webshop.pages import Address
from tests.support.webshop_products import product_of


def test_white_space_alone_is_one_space_and_with_a_line_break_nothing() -> None:
    product = product_of("A lamp", bullets=("", " \t ", "\n", "bright"))
    # Each bullet is written after a space.
    page = pages.sub_page(product, "Features")
    assert [piece.text for piece in page.pieces[2:]] == [" ", " ", " bright"]
    assert page.text == "Back to Search [SEP] < Prev [SEP]  [SEP]  [SEP] bright"
    assert pages.sub_page(product_of("A lamp"), "Description").text.endswith("< Prev")


def test_a_value_with_the_name_of_a_button_is_listed_once_in_the_buttons_place() -> None:
    product = product_of("A lamp", options={"shade": ("red", "reviews")})
    page = pages.item(product, show_attributes=False)
    assert page.clickables == (
        "back to search", "< prev", "description", "features", "reviews", "buy now", "red"
    )  # fmt: skip


def test_an_option_counts_as_clicked_only_if_its_address_says_so() -> None:
    product = product_of("A lamp", options={"shade": ("red", "blue", '5"')})
    page = pages.item(product, show_attributes=False)
    # Quotes are escaped in the address, so the third never counts as clicked.
    url = '/item_page/{"shade": "red", "x": "5\\""}'
    lines = pages.rich_text(page, "Buy it", opened=(), url=url).splitlines()
    assert lines[:3] == ["You have clicked red.", "Instruction:", "Buy it"]
    assert "  [clicked button] red [clicked button_]" in lines
    assert "  [button] blue [button_]" in lines
    assert '  [button] 5" [button_]' in lines


def test_a_product_counts_as_clicked_once_it_was_opened() -> None:
    page = pages.results({4: product_of("A lamp")}, number=1, total=1)
    assert page.products == {"a": 4}
    assert "\n\n[button] A [button_]\n" in pages.rich_text(page, "Buy it", opened=(), url="")
    text = pages.rich_text(page, "Buy it", opened={"A"}, url="")
    assert "\n\n[clicked button] A [clicked button_]\n" in text


def test_chosen_options_are_written_safely_for_html() -> None:
    page = pages.done("A", {"b": "<'&'>", "a": "\u00fc"}, 0.5)
    assert '{"a": "\\u00fc", "b": "\\u003c\\u0027\\u0026\\u0027\\u003e"}' in page.text
    assert "0.5" in page.text.split(" [SEP] ")


def test_addresses_that_differ_are_not_equal() -> None:
    assert Address("item_page", ("lamp",), 1, 3) != Address("item_page", ("lamp",), 2, 3)
