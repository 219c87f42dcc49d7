"""Generated games are won by their walkthroughs and by the explorer."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerbench.envs.alfworld import scenes
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.explorer import Explorer, TaskWords, parse_task
from layerbench.envs.alfworld.generator import (
    PERMUTED,
    SPLITS,
    TASK_TYPES,
    game_data,
    game_task_type,
    generated_ids,
)
from layerbench.envs.types import Observation
from layerbench.errors import UserError


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("split", "difficulty", "count"),
    [("train", "easy", 60), ("seen", "easy", 24), ("unseen", "easy", 24), ("train", "medium", 12),
     ("train", "full", 6)],
)  # fmt: skip
def test_every_game_is_won_by_its_walkthrough(
    split: str, difficulty: str, count: int, engine: Engine
) -> None:
    types: Counter[str] = Counter()
    for game in generated_ids(split=split, difficulty=difficulty, count=count, seed=3):
        engine.load(game_data(game))
        state = engine.reset()
        for command in engine.walkthrough:
            assert not state.won
            assert command in state.admissible, (game, command)
            state = engine.step(command)
        assert state.won, game
        types[game_task_type(game)] += 1
    assert set(types) == set(TASK_TYPES)


@pytest.mark.timeout(120)
def test_the_explorer_wins(engine: Engine) -> None:
    for game in generated_ids(split="train", difficulty="easy", count=24, seed=4):
        engine.load(game_data(game))
        state = engine.reset()
        observation = Observation(state.feedback.strip(), state.admissible)
        explorer = Explorer(observation)
        for _ in range(50):
            if state.won:
                break
            action = explorer.act(observation)
            assert action is not None, game
            state = engine.step(action)
            observation = Observation(state.feedback.strip(), state.admissible)
            explorer.note(action, observation)
        assert state.won, game


@given(st.sampled_from(SPLITS), st.integers(0, 999_999))
@settings(max_examples=15, deadline=None)
def test_a_name_gives_the_same_game_again(split: str, number: int) -> None:
    name = f"{split}/easy/{number:06d}"
    assert game_data(name) == game_data(name)


def test_splits_and_seeds_give_other_games() -> None:
    names = [
        generated_ids(split=split, difficulty="easy", count=30, seed=seed)
        for split in SPLITS
        for seed in (0, 1)
    ]
    problems = {game_data(name)["pddl_problem"] for group in names for name in group[:3]}
    assert len({name for group in names for name in group}) > 30 * len(names) - 5
    assert len(problems) == 3 * len(names)


def test_a_short_list_begins_a_long_one_and_types_take_turns() -> None:
    short = generated_ids(split="train", difficulty="easy", count=7, seed=5)
    long = generated_ids(split="train", difficulty="easy", count=50, seed=5)
    assert long[:7] == short
    assert [game_task_type(game) for game in short[:6]] == list(TASK_TYPES)


def test_unseen_scenes_are_disjoint_from_train_scenes() -> None:
    assert not set(scenes.scene_numbers(unseen=True)) & set(scenes.scene_numbers(unseen=False))
    assert scenes.scene_numbers(unseen=True) == (10, 219, 308, 424)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/easy", "SPLIT/DIFFICULTY/NUMBER"),
        ("test/easy/000001", "no split 'test': known: pretrain, train, seen, unseen"),
        ("train/hard/000001", "no difficulty 'hard': known: easy, medium, full"),
        ("train/easy/../../x", "SPLIT/DIFFICULTY/NUMBER"),
        ("train/easy/17", "the number with six digits, such as train/easy/000017"),
        ("train/easy/1000000", "six digits"),
        ("train/easy/000017\n", "six digits"),
    ],
)
def test_a_wrong_name_is_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        game_data(name)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("put a hot apple in fridge", TaskWords("apple", "fridge", "heat", "", 1)),
        ("cool some pan and put it in stoveburner", TaskWords("pan", "stoveburner", "cool", "", 1)),
        ("find two pen and put them in desk", TaskWords("pen", "desk", "", "", 2)),
        ("look at cd under the desklamp", TaskWords("cd", "", "", "desklamp", 1)),
        (
            "put some peppershaker on diningtable",
            TaskWords("peppershaker", "diningtable", "", "", 1),
        ),
    ],
)
def test_task_sentences_are_taken_apart(sentence: str, words: TaskWords) -> None:
    assert parse_task(f"You see a desk 1.\n\nYour task is to: {sentence}.") == words


def test_a_permuted_game_is_the_plain_one_with_the_words_of_another_task(engine: Engine) -> None:
    verbs = {kind: kind.split("_")[1] for kind in PERMUTED}
    names = generated_ids(split="train", difficulty="easy", count=9, seed=4, permuted=True)
    assert [game_task_type(name) for name in names[:3]] == sorted(PERMUTED, key=TASK_TYPES.index)
    for name in names:
        game, plain = game_data(name), game_data(name.replace("-permuted", ""))
        assert game["pddl_problem"] == plain["pddl_problem"]
        assert game["walkthrough"] == plain["walkthrough"]
        engine.load(game)
        state = engine.reset()
        start = state.feedback.strip()
        won_by = game_task_type(name)
        assert parse_task(start).verb == verbs[PERMUTED[won_by]] != verbs[won_by]
        for command in engine.walkthrough:
            state = engine.step(command)
        assert state.won
        assert any(command.startswith(verbs[won_by]) for command in engine.walkthrough)


def test_other_types_of_task_have_no_permuted_words() -> None:
    with pytest.raises(UserError, match="'train/easy-permuted/000000' names no game"):
        game_data("train/easy-permuted/000000")
    with pytest.raises(UserError, match="ask for 1 to 250000"):
        generated_ids(split="train", difficulty="easy", count=250_001, seed=0, permuted=True)
