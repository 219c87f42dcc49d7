"""Published and generated games are found by their names and listed as tasks."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from layerbench.envs.alfworld import games, generator
from layerbench.envs.alfworld.explorer import parse_task
from layerbench.envs.cache import cache_dir
from tests.support.official_games import official_games


def test_games_are_generated_unless_a_folder_is_given(official_data: Path) -> None:
    (task,) = games.list_tasks(split="train", count=1, seed=0)
    assert task.task_id.startswith("train/easy/")
    (task,) = games.list_tasks(split="train", count=1, seed=0, data_dir=official_data)
    assert task.task_id.endswith("/game.tw-pddl")


def test_a_task_selects_its_game(official_data: Path) -> None:
    for task in games.list_tasks(split="train", count=3, seed=0, data_dir=official_data):
        assert task.options == {"game": task.task_id}
        content = games.OfficialGames(official_data).find(task.task_id).content
        assert isinstance(content, Path)
        assert json.loads(content.read_text())["walkthrough"]


def test_published_games_are_sorted_and_typed_by_their_folders(official_data: Path) -> None:
    published = official_games(official_data, "train")
    ids = [game.game_id for game in published]
    assert len(ids) == 12
    assert ids == sorted(ids)
    # Twelve games, two of each of the six types.
    assert Counter(game.task_type for game in published) == dict.fromkeys(generator.TASK_TYPES, 2)


def test_published_games_need_no_traj_data(official_data: Path, tmp_path: Path) -> None:
    shutil.copytree(
        official_data, tmp_path / "data", ignore=shutil.ignore_patterns("traj_data.json")
    )
    assert official_games(tmp_path / "data", "train") == tuple(
        games.Game(game.game_id, game.task_type, tmp_path / "data/json_2.1.1" / game.game_id)
        for game in official_games(official_data, "train")
    )


def test_folders_name_the_task_that_the_game_sets(official_data: Path) -> None:
    for game in official_games(official_data, "train"):
        assert isinstance(game.content, Path)
        data = json.loads(game.content.read_text())
        sentence = next(s for s in data["grammar"].splitlines() if "Your task is to:" in s)
        words = parse_task(sentence.strip().removesuffix('"'))
        _, target, _, destination, _ = game.game_id.split("/")[1].split("-")
        assert (words.target, words.destination or words.lamp) == (
            target.lower(),
            destination.lower(),
        )


def test_the_folder_may_be_named_with_or_without_its_version(official_data: Path) -> None:
    assert official_games(official_data / "json_2.1.1", "train") == official_games(
        official_data, "train"
    )


def test_the_environment_variable_points_to_published_games(
    official_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(official_data))
    tasks = games.list_tasks(split="train", count=None, seed=0, source="official")
    assert len(tasks) == 12


def test_games_that_alfworld_leaves_out_are_left_out(tmp_path: Path) -> None:
    kept = "pick_and_place_simple-Book-None-Sofa-202/trial_1"
    for name in (
        kept,
        "pick_and_place_simple-AppleSliced-None-Fridge-1/trial_2",
        "pick_and_place_with_movable_recep-Book-Box-Sofa-202/trial_3",
    ):
        folder = tmp_path / "json_2.1.1/train" / name
        folder.mkdir(parents=True)
        parts = dict.fromkeys(("pddl_domain", "pddl_problem", "grammar"), "()")
        (folder / "game.tw-pddl").write_text(json.dumps({"solvable": True, **parts}))
    published = official_games(tmp_path, "train")
    assert [game.game_id for game in published] == [f"train/{kept}/game.tw-pddl"]


@pytest.mark.parametrize("source", ["generated", "official"])
def test_a_shorter_list_begins_a_longer_one(source: str, official_data: Path) -> None:
    data_dir = official_data if source == "official" else None
    short = games.list_tasks(split="train", count=5, seed=3, data_dir=data_dir)
    long = games.list_tasks(split="train", count=11, seed=3, data_dir=data_dir)
    assert long[:5] == short
    assert len({task.task_id for task in long}) == 11
    assert games.list_tasks(split="train", count=11, seed=4, data_dir=data_dir) != long


def test_draws_reach_every_type_of_task() -> None:
    source = games.GeneratedGames("easy", permuted=False)
    drawn = [source.draw(split="train", seed=seed) for seed in range(60)]
    assert {generator.game_task_type(name) for name in drawn} == set(generator.TASK_TYPES)
    assert len(set(drawn)) == 60


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"split": "valid_seen"}, "known: pretrain, train, seen, unseen"),
        ({"difficulty": "hard"}, "known: easy, medium, full"),
        ({"source": "offical"}, "did you mean 'official'"),
        ({"source": "official", "difficulty": "esy"}, "did you mean 'easy'"),
        ({"data_dir": "nowhere"}, "has no folder json_2.1.1"),
        ({"count": None}, "say how many"),
        ({"count": 0}, "1 to"),
    ],
)
def test_an_impossible_choice_says_what_is_possible(
    options: dict[str, object], reason: str
) -> None:
    choice: dict[str, object] = {"split": "train", "count": 1, "seed": 0, **options}
    with pytest.raises(ValueError, match=reason):
        games.list_tasks(**choice)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("split", "count", "reason"),
    [
        ("seen", 1, "known: train, valid_seen, valid_unseen"),
        ("valid_seen", 1, "split 'valid_seen' is missing"),
        ("train", 13, "has 12 games, so 13"),
    ],
)
def test_published_games_that_are_not_there_are_named(
    official_data: Path, split: str, count: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        games.list_tasks(split=split, count=count, seed=0, data_dir=official_data)


@pytest.mark.parametrize("name", ["train/none/none/game.tw-pddl", "../game.tw-pddl", "train", ""])
def test_a_name_that_is_no_game_is_refused(official_data: Path, name: str) -> None:
    (official_data / "game.tw-pddl").touch()
    with pytest.raises(ValueError, match="no game"):
        games.OfficialGames(official_data).find(name)


def test_a_published_game_has_one_name(official_data: Path) -> None:
    source = games.OfficialGames(official_data)
    name = source.all_ids("train")[0]
    assert source.find(name).game_id == name
    split, *rest = name.split("/")
    for other in (
        str(official_data / "json_2.1.1" / name),
        f"./{name}",
        f"{split}//{'/'.join(rest)}",
        f"{split}/../{name}",
    ):
        with pytest.raises(ValueError, match=r"games are named like train/TASK/TRIAL/"):
            source.find(other)


def test_the_cache_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", "/somewhere")
    assert cache_dir() == Path("/somewhere")
    monkeypatch.delenv("LAYERBENCH_CACHE")
    assert cache_dir().name == "layerbench"
