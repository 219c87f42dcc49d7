"""The expert chooses by observations alone, and wins most goals."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from layerbench.envs.demonstrations import Demonstration, read, write
from layerbench.envs.session import Session
from layerbench.envs.types import Observation
from layerbench.envs.webshop.demonstrations import demonstrate
from layerbench.envs.webshop.env import list_tasks
from layerbench.envs.webshop.expert import SearchResult, Shopper, results_on

START = Observation(
    "WebShop [SEP] Instruction: [SEP] Find me soft hats with color: red, and price lower than "
    "20.00 dollars [SEP] Search",
    ("search[<query>]",),
    choices=("search[soft hats red]", "search[soft hats]"),
)
HEAD = "Instruction: [SEP] Find me soft hats [SEP] Back to Search"
RESULTS = Observation(
    f"{HEAD} [SEP] Page 1 (Total results: 3) [SEP] Next > [SEP] A1 [SEP] Hard Hat [SEP] $9.0 [SEP] "
    "B2 [SEP] Soft Hat [SEP] $30.0 to $40.0 [SEP] C3 [SEP] Soft Hat For Men [SEP] $12.0 to $40.0",
    choices=("click[back to search]", "click[next >]", "click[a1]", "click[b2]", "click[c3]"),
)
ITEM = Observation(
    f"{HEAD} [SEP] < Prev [SEP] color [SEP] red [SEP] blue [SEP] Soft Hat For Men [SEP] Buy Now",
    choices=("click[back to search]", "click[< prev]", "click[buy now]", "click[red]"),
)
BARE = Observation(
    f"{HEAD} [SEP] < Prev [SEP] Soft Hat For Men [SEP] Buy Now",
    choices=("click[back to search]", "click[< prev]", "click[buy now]"),
)
SUB_PAGE = Observation(
    f"{HEAD} [SEP] < Prev [SEP] Warm.", choices=("click[back to search]", "click[< prev]")
)


def actions(*pages: Observation) -> list[str]:
    """Show pages in order, whatever the actions; return the actions."""
    shopper = Shopper(START)
    chosen: list[str] = []
    for number, page in enumerate(pages):
        chosen.append(shopper.act(page))
        if number + 1 < len(pages):
            shopper.note(chosen[-1], pages[number + 1])
    return chosen


def test_results_are_parsed() -> None:
    assert results_on(RESULTS.text) == [
        SearchResult("a1", "Hard Hat", 9.0),
        SearchResult("b2", "Soft Hat", 30.0),
        SearchResult("c3", "Soft Hat For Men", 12.0),
    ]
    assert results_on(ITEM.text) == results_on(START.text) == []


def test_it_opens_what_fits_best_of_what_can_be_afforded() -> None:
    # The second fits as well, but costs more than 20.
    assert actions(START, RESULTS) == ["search[soft hats red]", "click[c3]"]


def test_it_chooses_what_was_asked_for_and_buys() -> None:
    assert actions(START, RESULTS, ITEM, ITEM)[2:] == ["click[red]", "click[buy now]"]


def test_it_goes_back_where_an_option_is_missing_and_opens_another() -> None:
    assert actions(START, RESULTS, BARE, RESULTS)[2:] == ["click[< prev]", "click[a1]"]


def test_it_finds_back_from_pages_it_would_not_have_opened() -> None:
    assert actions(START, RESULTS, SUB_PAGE)[-1] == "click[< prev]"


def test_leaving_a_product_forgets_its_options() -> None:
    assert actions(START, RESULTS, ITEM, RESULTS, ITEM)[-1] == "click[red]"


def test_the_second_search_is_another_one() -> None:
    assert actions(START, RESULTS, START)[-1] == "search[soft hats]"


def test_a_text_that_is_no_first_page_is_refused() -> None:
    with pytest.raises(ValueError, match="no first page of WebShop"):
        Shopper(Observation("You see a door."))


@pytest.fixture(scope="module")
def demonstrations() -> list[Demonstration]:
    session = Session("webshop", {}, 10)
    tasks = list_tasks(split="train", count=100, seed=1)
    return [d for task in tasks for d in demonstrate(session, task, noise_levels=(0.0, 0.2))]


def test_the_expert_wins_most_of_its_goals(demonstrations: list[Demonstration]) -> None:
    clean = [d for d in demonstrations if d.noise == 0]
    assert all(turn.expert for d in clean for turn in d.turns)
    # 72 of 100 are to be expected; 60 or less would have a chance of under 1 %.
    assert sum(d.won for d in clean) > 60
    assert max(len(d.turns) for d in clean) <= 10


def test_mistakes_are_told_apart_and_nothing_is_bought_by_mistake(
    demonstrations: list[Demonstration],
) -> None:
    noisy = [d for d in demonstrations if d.noise > 0]
    mistakes = [turn for d in noisy for turn in d.turns if not turn.expert]
    turns = sum(len(d.turns) for d in noisy)
    assert 0.08 * turns < len(mistakes) < 0.22 * turns
    assert not any(turn.action == "click[buy now]" for turn in mistakes)
    assert any(d.won for d in noisy)


def test_what_was_written_is_read(demonstrations: list[Demonstration], tmp_path: Path) -> None:
    for name, part in (("a", demonstrations[:3]), ("b", demonstrations[3:5])):
        write(tmp_path / name, part)
    assert read([tmp_path / "a", tmp_path / "b"]) == demonstrations[:5]


def test_of_an_option_that_it_does_not_read_it_chooses_any_value() -> None:
    item = replace(ITEM, choices=(*ITEM.choices, "click[blue]", "click[green]"))
    item = replace(item, text=item.text.replace("blue", "blue [SEP] green"))
    chosen: Counter[str] = Counter()
    for seed in range(30):
        shopper = Shopper(START, options_read=0, rng=random.Random(seed))
        shopper.note("click[c3]", item)
        action = shopper.act(item)
        chosen[action] += 1
        shopper.note(action, item)
        assert shopper.act(item) == "click[buy now]"
    assert set(chosen) == {"click[red]", "click[blue]", "click[green]"}
    assert max(chosen.values()) < 20
