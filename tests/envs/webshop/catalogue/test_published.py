"""Published catalogues are read as in the original code, and errors in them are reported."""

import json
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.webshop.catalogue import index, json_stream, published
from layerbench.envs.webshop.catalogue.published import CatalogueError, Product

RAW: dict[str, Any] = {
    "asin": "A1",
    "name": "A Lamp",
    "full_description": "Bright.",
    "small_description": ["Small", "Red"],
    "pricing": "$1,009.50$2,000",
    "customization_options": {
        "Size": [{"value": " Small/Tall "}, {"value": "X"}],
        "Color": None,
    },
    "category": "garden",
    "query": " Lamps ",
    "product_category": "Home \u203a Lamps",
    "images": [""],
}
KNOWN = {"attributes": ["small"], "instruction": "Find me lamps", "instruction_attributes": ["s"]}


def write(folder: Path, products: list[dict[str, Any]], known: dict[str, Any]) -> Path:
    (folder / "items_shuffle_1000.json").write_text(json.dumps(products))
    (folder / "items_ins_v2_1000.json").write_text(json.dumps(known))
    return folder


def read(folder: Path) -> list[Product]:
    return list(published.read(published.find_files(folder)))


def test_a_product_is_read_as_the_original_reads_it(tmp_path: Path) -> None:
    (product,) = read(write(tmp_path, [RAW], {"A1": KNOWN}))
    assert product.prices == (1009.5, 2000.0)
    assert product.price_tag == "$1009.5 to $2000.0"
    assert product.options == {"size": ("small | tall", "x")}
    assert product.query == "lamps"
    assert product.instruction == published.Instruction("Find me lamps", ("s",))
    assert product.indexed_text() == "a lamp bright. small size: small | tall, x"


def test_what_is_missing_has_the_originals_defaults(tmp_path: Path) -> None:
    raw = RAW | {"pricing": "", "customization_options": "", "small_description": "Red"}
    (product,) = read(write(tmp_path, [raw], {}))
    assert (product.prices, product.price_tag) == ((100.0,), "$100.0")
    assert (product.options, product.bullets) == ({}, ("Red",))
    assert (product.attributes, product.instruction) == (("DUMMY_ATTR",), None)


def test_repeats_and_odd_ids_are_left_out(tmp_path: Path) -> None:
    ids = ("A1", "nan", "A1", "ELEVENCHARS", "A2")
    folder = write(tmp_path, [RAW | {"asin": asin} for asin in ids], {})
    assert [product.asin for product in read(folder)] == ["A1", "A2"]


def test_human_instructions_without_attributes_are_left_out(tmp_path: Path) -> None:
    full = {
        "instruction": "a lamp.",
        "instruction_attributes": ["s"],
        "instruction_options": ["x"],
    }
    bare = full | {"instruction_attributes": []}
    (write(tmp_path, [RAW], {}) / published.HUMAN_FILE).write_text(json.dumps({"A1": [bare, full]}))
    (product,) = read(tmp_path)
    assert product.human_instructions == (published.Instruction("a lamp", ("s",), ("x",)),)


def test_a_stored_product_comes_back_whole(products: list[Product]) -> None:
    for product in products:
        assert index.from_row(json.loads(json.dumps(index.to_row(product)))) == product


def test_a_folder_without_a_catalogue_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no WebShop catalogue: put there items_shuffle_1000"):
        published.find_files(tmp_path)


def test_a_folder_with_two_catalogues_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [RAW], {})
    for name in ("items_shuffle.json", "items_ins_v2.json"):
        (tmp_path / name).write_text("[]")
    with pytest.raises(CatalogueError, match="both the small and the full set"):
        published.find_files(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"small_description": []}, "product A1 has an empty small_description"),
        ({"pricing": "9.99"}, "product A1 has the price '9.99', without"),
        ({"query": None}, "is no WebShop catalogue: AttributeError"),
    ],
)
def test_a_broken_product_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=message):
        read(write(tmp_path, [RAW | changes], {}))


def test_an_instruction_without_attributes_is_refused(tmp_path: Path) -> None:
    known = KNOWN | {"instruction_attributes": []}
    with pytest.raises(CatalogueError, match="A1 has an instruction without attributes"):
        read(write(tmp_path, [RAW], {"A1": known}))


@pytest.fixture(params=[1, 3, 1 << 20])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be read in chunks of several sizes."""
    monkeypatch.setattr(json_stream, "_CHUNK_CHARS", request.param)


@pytest.mark.usefixtures("_chunks")
def test_streams_give_what_json_gives(tmp_path: Path) -> None:
    values: list[Any] = [{"a": [1, 2.5, None]}, "x,]y", [], {"b": "\u00fc}"}]
    path = tmp_path / "file.json"
    path.write_text(json.dumps(values, indent=1))
    assert list(json_stream.read_array(path)) == values
    path.write_text(json.dumps({"k": values, "l}": 7}))
    assert list(json_stream.read_object(path)) == [("k", values), ("l}", 7)]


@pytest.mark.parametrize("text", ["", "{}", '[{"a": 1}', '[{"a" 1}]', "[1"])
def test_a_broken_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"file\.json"):
        list(json_stream.read_array(path))
