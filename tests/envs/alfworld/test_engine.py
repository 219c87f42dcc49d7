"""Our engine plays games as stock textworld does, and keeps translations."""

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from layerbench.envs.alfworld import generator, grammar, pddl_env, translation
from layerbench.envs.alfworld.engine import Engine
from tests.support.original_alfworld import StockEngine, draw_command, snapshot

NUM_OFFICIAL = 12
GENERATED = (
    *generator.generated_ids(split="train", difficulty="easy", count=18, seed=5),
    *generator.generated_ids(split="unseen", difficulty="easy", count=6, seed=5),
    *generator.generated_ids(split="train", difficulty="medium", count=6, seed=5),
)
RANDOM_STEPS = 9


@pytest.fixture(scope="module")
def stock() -> StockEngine:
    return StockEngine()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


def game_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("game.tw-pddl"))


def generated(number: int) -> dict[str, Any]:
    """Make a small game of the given number; its type of task is the number modulo 6."""
    return dict(generator.game_data(f"train/easy/{number:06d}"))


def compare(
    stock: StockEngine, engine: Engine, game: Path | Mapping[str, Any], *, follow: bool, seed: int
) -> int:
    """Play one game on both engines; return the number of commands played."""
    stock.load(game)
    engine.load(game)
    state = engine.reset()
    assert snapshot(engine, state) == stock.reset()
    rng = random.Random(seed)
    steps = 0
    walkthrough = list(engine.walkthrough) if follow else []
    while walkthrough or (steps < RANDOM_STEPS and not follow):
        command = walkthrough.pop(0) if walkthrough else draw_command(state, rng)
        state = engine.step(command)
        assert snapshot(engine, state) == stock.step(command), command
        steps += 1
    assert state.won or not follow
    return steps


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(NUM_OFFICIAL))
def test_published_games_say_what_stock_textworld_says(
    stock: StockEngine, engine: Engine, official_data: Path, number: int
) -> None:
    game = game_files(official_data)[number]
    assert compare(stock, engine, game, follow=number % 3 == 0, seed=number)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "number",
    # Three always, the others with the slow tests.
    [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, len(GENERATED)))],
)
def test_generated_games_say_what_stock_textworld_says(
    stock: StockEngine, engine: Engine, number: int
) -> None:
    game = generator.game_data(GENERATED[number])
    # Six types of task take turns: each is played both ways.
    assert compare(stock, engine, game, follow=number % 4 in (0, 3), seed=number)


def test_a_loaded_game_is_not_translated_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.load(generated(0))
    monkeypatch.delattr(translation, "pddl_to_sas")
    engine.load(generated(0))
    engine.step(engine.reset().admissible[0])


def test_two_engines_do_not_disturb_each_other() -> None:
    alone, first, second = Engine(), Engine(), Engine()
    one, other = generated(2), generated(3)
    alone.load(one)
    expected = [alone.reset(), *(alone.step(command) for command in alone.walkthrough)]
    first.load(one)
    second.load(other)
    played = [first.reset()]
    state = second.reset()
    for command in first.walkthrough:
        state = second.step(state.admissible[0])
        played.append(first.step(command))
    assert played == expected


def test_a_reset_forgets_the_episode(engine: Engine) -> None:
    engine.load(generated(2))
    start = engine.reset()
    for command in engine.walkthrough:
        engine.step(command)
    facts = sorted(engine.facts())
    assert engine.reset() == start
    assert sorted(engine.facts()) != facts


def test_a_command_that_is_not_admissible_changes_nothing(engine: Engine) -> None:
    engine.load(generated(1))
    before = engine.reset()
    facts = sorted(engine.facts())
    after = engine.step("open sesame")
    assert after.feedback == "Nothing happens."
    assert (after.admissible, after.location) == (before.admissible, before.location)
    assert sorted(engine.facts()) == facts


def test_location_and_inventory_follow_the_agent(engine: Engine) -> None:
    engine.load(generated(0))
    state = engine.reset()
    assert (state.location, state.inventory) == ((), ())
    for command in engine.walkthrough:
        state = engine.step(command)
        words = command.split()
        if words[0] == "go":
            assert " ".join(words[2:]) in state.location
        if words[0] == "take":
            assert state.inventory == (" ".join(words[1:3]),)
        if words[0] == "move":
            assert state.inventory == ()


def test_the_translators_settings_do_not_reach_the_command_line(engine: Engine) -> None:
    before = list(sys.argv)
    engine.load(generated(99))
    assert sys.argv == before


class TestTranslationCache:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))
        return tmp_path

    def play(self, engine: Engine) -> object:
        """Load as a new process would; return the opening state."""
        pddl_env._GAMES.clear()  # pyright: ignore[reportPrivateUsage]
        engine.load(generated(4))
        return engine.reset()

    def test_one_file_a_game_and_no_temporary_ones(self, engine: Engine, folder: Path) -> None:
        self.play(engine)
        self.play(engine)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert [path.suffixes for path in files] == [[".json", ".z"]]

    def test_a_second_process_need_not_translate(
        self, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del folder
        start = self.play(engine)
        monkeypatch.delattr(translation, "pddl_to_sas")
        assert self.play(engine) == start

    @pytest.mark.parametrize("content", [b"", b"x", b"half", b"{}"])
    def test_a_damaged_file_is_made_again(
        self, engine: Engine, folder: Path, content: bytes
    ) -> None:
        start = self.play(engine)
        (path,) = (path for path in folder.rglob("*") if path.is_file())
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)
        assert self.play(engine) == start
        assert path.read_bytes() == whole

    def test_a_folder_that_cannot_be_written_is_no_obstacle(
        self, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = self.play(engine)
        (folder / "file").touch()
        monkeypatch.setenv("LAYERBENCH_CACHE", str(folder / "file"))
        assert self.play(engine) == start


def test_a_process_keeps_few_games(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pddl_env, "_GAMES", {})
    monkeypatch.setattr(pddl_env, "_MAX_GAMES", 2)
    for number in range(4):
        engine.load(generated(number))
    assert len(pddl_env._GAMES) == 2  # pyright: ignore[reportPrivateUsage]


def test_a_file_that_is_no_game_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "game.tw-pddl"
    path.write_text("not json")
    with pytest.raises(ValueError, match="Expecting value"):
        engine.load(path)
    path.write_text('{"pddl_domain": "", "grammar": ""}')
    with pytest.raises(ValueError, match="no pddl_problem"):
        engine.load(path)


def test_a_grammar_cannot_run_code() -> None:
    with pytest.raises(ValueError, match="__import__"):
        grammar.parse_symbols("{__import__('os').getcwd()}")
    with pytest.raises(ValueError, match="understood"):
        grammar.parse_symbols("{r.__class__}")


def test_a_missing_rule_is_named(engine: Engine) -> None:
    data = generated(0)
    data["grammar"] = data["grammar"].replace('"list_appliances"', '"list_nothing"')
    engine.load(data)
    with pytest.raises(ValueError, match="list_appliances"):
        engine.reset()
