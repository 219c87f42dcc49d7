"""Nouns come from a file or from spaCy's model, whose absence is reported."""

import importlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from layerbench.envs.webshop.catalogue import index, nouns, published, synthetic
from layerbench.envs.webshop.catalogue.nouns import LazyNouns, NounsError
from layerbench.envs.webshop.catalogue.published import CatalogueError
from layerbench.envs.webshop.shop import Shop, ShopRules
from tests.envs.webshop.conftest import oracle


class UpperCaseIsNoun:
    """A stand-in for spaCy's model: words that begin in upper case are proper nouns."""

    def __init__(self, version: str = "3.8.0") -> None:
        self.meta = {"version": version}
        self.tagged: list[str] = []

    def pipe(self, titles: Iterable[str]) -> Iterator[list[Any]]:
        for title in titles:
            self.tagged.append(title)
            yield [
                SimpleNamespace(text=word, pos_=("PROPN" if word.istitle() else "ADJ"))
                for word in title.split()
            ]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> UpperCaseIsNoun:
    return install(monkeypatch, "3.8.0")


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> UpperCaseIsNoun:
    model = UpperCaseIsNoun(version)

    def load(name: str, *, exclude: list[str]) -> UpperCaseIsNoun:
        assert name == nouns.MODEL
        assert "tagger" not in exclude
        return model

    spacy = SimpleNamespace(load=load)
    monkeypatch.setattr(importlib, "import_module", lambda _name: spacy)  # pyright: ignore
    return model


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(f"no module named {name}")

    monkeypatch.setattr(importlib, "import_module", refuse)


def without_nouns(folder: Path, *, seed: int) -> Path:
    """Write a catalogue; those of equal seeds share an index."""
    synthetic.write(folder, num_products=30, seed=seed)
    (folder / published.NOUNS_FILE).unlink()
    return folder


def test_titles_are_tagged_when_a_catalogue_is_indexed(
    model: UpperCaseIsNoun, tmp_path: Path
) -> None:
    folder = index.ensure_published(without_nouns(tmp_path, seed=0))
    shop = Shop(folder, ShopRules())
    assert len(model.tagged) == 30
    assert index.about(folder)["nouns"] == "en_core_web_sm 3.8.0"
    assert list(shop.nouns(7)) == [w.lower() for w in shop.product(7).title.split() if w.istitle()]


def test_a_catalogue_without_nouns_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch)
    with pytest.raises(NounsError, match=r"layerbench\[webshop\].*spacy download en_core_web_sm"):
        index.ensure_published(without_nouns(tmp_path, seed=1))


def test_a_nouns_file_that_lacks_a_title_is_refused(tmp_path: Path) -> None:
    (without_nouns(tmp_path, seed=2) / published.NOUNS_FILE).write_text("{}")
    with pytest.raises(CatalogueError, match="has no nouns for the title"):
        index.ensure_published(tmp_path)


@pytest.mark.usefixtures("model")
def test_titles_of_a_large_catalogue_are_tagged_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_MAX_TAGGED_AT_ONCE", 29)
    folder = index.ensure_published(without_nouns(tmp_path, seed=3))
    model = install(monkeypatch, "3.8.0")
    shop = Shop(folder, ShopRules())
    tagged = shop.nouns(7)
    assert shop.nouns(7) == tagged
    assert model.tagged == [shop.product(7).title]
    # Another process reads them from the file.
    again = install(monkeypatch, "3.8.0")
    assert Shop(folder, ShopRules()).nouns(7) == tagged
    assert again.tagged == []


@pytest.mark.usefixtures("model")
def test_nouns_of_another_model_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.jsonl"
    LazyNouns(path, str)(7)
    assert json.loads(path.read_text().splitlines()[0]) == "en_core_web_sm 3.8.0"
    install(monkeypatch, "3.7.1")
    with pytest.raises(NounsError, match=r"made by en_core_web_sm 3\.8\.0, but .* 3\.7\.1 is"):
        LazyNouns(path, str)


@pytest.mark.slow
def test_the_published_titles_are_tagged_as_recorded() -> None:
    pytest.importorskip("spacy")
    pytest.importorskip("en_core_web_sm", reason="needs spaCy's small English model")
    recorded = oracle("product_nouns.json")
    assert [list(tagged) for tagged in nouns.Tagger().tag(recorded)] == list(recorded.values())
