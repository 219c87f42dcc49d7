"""Published games: which are taken, what names them, through links, and what damaged ones say."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alfworld.agents.environment.alfred_tw_env import (  # pyright: ignore[reportMissingTypeStubs]
    AlfredTWEnv,
)

from layerbench.envs import registry
from layerbench.envs.alfworld import collection
from layerbench.envs.alfworld.env import ALFWorldEnv
from layerbench.envs.alfworld.games import OfficialGames, list_tasks
from layerbench.envs.data_files import DataFileError
from layerbench.errors import UserError
from tests.support.official_games import game_files, write_official_games

SPEC = registry.find("alfworld")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_official_games(tmp_path_factory.mktemp("official"))


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "copy"))


def source(root: Path | str, *splits: str) -> str:
    options = {"data_dir": str(root)}
    return registry.describe(SPEC, options, splits=splits or ("train", "valid_seen")).source


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(key: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        data = json.loads(path.read_text())
        del data[key]
        path.write_text(json.dumps(data))

    return change


LEFT_OUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "unsolvable": (lambda p: edit(p, solvable=False, walkthrough=None), "1 not known to be solv"),
    "unknown": (without("solvable"), "1 not known to be solvable"),
    "type": (lambda p: edit(p.with_name("traj_data.json"), task_type="dance"), "1 of other types"),
    "missing": (lambda p: p.unlink(), "1 without a game file"),
    "slices": (
        lambda p: p.parent.parent.rename(p.parents[2] / "pick_and_place_simple-AppleSliced-1"),
        "1 with movable receptacles or slices",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_the_games_are_those_of_alfworlds_own_collector(copy: Path, case: str) -> None:
    change, note = LEFT_OUT[case]
    change(game_files(copy)[0])
    folder = copy / "json_2.1.1"
    config: Any = {
        "env": {"goal_desc_human_anns_prob": 0, "task_types": [1, 2, 3, 4, 5, 6]},
        "dataset": {"eval_id_data_path": str(folder / "valid_seen"), "num_eval_games": 0},
    }
    theirs: list[str] = AlfredTWEnv(config, train_eval="eval_in_distribution").game_files  # pyright: ignore
    ours = [
        task.task_id for task in list_tasks(split="valid_seen", count=None, seed=0, data_dir=copy)
    ]
    assert len(ours) == 2
    assert sorted(ours) == sorted(str(Path(f).relative_to(folder)) for f in theirs)
    [told] = registry.describe(SPEC, {"data_dir": copy}, splits=("train", "valid_seen")).notes
    assert told.startswith("valid_seen: 2 games; left out")
    assert note in told


def test_a_solvable_game_without_a_walkthrough_is_taken_as_by_the_collector(copy: Path) -> None:
    edit(game_files(copy)[0], walkthrough=None)
    assert len(OfficialGames(copy).all_ids("valid_seen")) == 3


def test_the_source_is_what_was_played_not_where_it_lay(data: Path, copy: Path) -> None:
    name = source(data)
    assert name.startswith("alfworld-")
    assert len(name) == len("alfworld-") + 64
    assert source(copy) == name
    assert source(os.path.relpath(copy)) == name
    assert source(copy / "json_2.1.1") == name
    assert source(f"{copy}/./json_2.1.1/..") == name
    # A split that is not played is not compared.
    game_files(copy, "train")[0].unlink()
    assert source(copy, "valid_seen") == source(data, "valid_seen")
    assert source(copy) != name


def test_an_edit_gives_another_source(copy: Path) -> None:
    before = source(copy)
    edit(game_files(copy)[1], comment="edited")
    assert source(copy) != before


def test_a_trajectory_is_part_of_the_source_by_its_type_alone(copy: Path) -> None:
    before = source(copy)
    trajectories = [path.with_name("traj_data.json") for path in game_files(copy)]
    edit(trajectories[0], comment="edited")
    trajectories[1].unlink()
    assert source(copy) == before
    edit(trajectories[2], task_type="look_at_obj_in_light")
    assert source(copy) != before


def test_an_edit_of_the_same_size_and_time_is_noticed(copy: Path) -> None:
    path = game_files(copy)[0]
    # Old enough for its hash to be kept.
    for file in (copy / "json_2.1.1").rglob("*.*"):
        os.utime(file, (1e9, 1e9))
    before, stat = source(copy), path.stat()
    path.write_text(path.read_text().replace("Your task is to:", "Your tusk is to:"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert source(copy) != before


def test_a_game_that_is_left_out_is_not_hashed(copy: Path) -> None:
    path = game_files(copy)[0]
    edit(path, solvable=False)
    before = source(copy)
    edit(path, pddl_problem="other")
    assert source(copy) == before


def test_the_hash_is_kept_and_read_back(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerbench.envs import cache  # noqa: PLC0415

    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_SETTLED_AFTER_NS", 0)
    first = collection.collect(copy / "json_2.1.1", "valid_seen")
    [kept] = (tmp_path / "cache" / "alfworld" / "collections").iterdir()
    monkeypatch.setattr(cache, "_IN_MEMORY", {})
    assert collection.collect(copy / "json_2.1.1", "valid_seen") == first
    # Read from there: what is written there comes back; a damaged file is computed anew.
    kept.write_text(json.dumps([[], {}, "0"]))
    monkeypatch.setattr(cache, "_IN_MEMORY", {})
    assert collection.collect(copy / "json_2.1.1", "valid_seen").sha256 == "0"
    kept.write_text("{")
    monkeypatch.setattr(cache, "_IN_MEMORY", {})
    assert collection.collect(copy / "json_2.1.1", "valid_seen") == first


def move_away(path: Path, elsewhere: Path) -> None:
    elsewhere.mkdir(exist_ok=True)
    target = elsewhere / f"blob-{path.name}"
    shutil.move(path, target)
    path.symlink_to(target)


LINKED: dict[str, Callable[[Path], Path]] = {
    "root": lambda root: root,
    "version": lambda root: root / "json_2.1.1",
    "split": lambda root: root / "json_2.1.1/valid_seen",
    "task": lambda root: game_files(root)[0].parents[1],
    "trial": lambda root: game_files(root)[0].parent,
    "game": lambda root: game_files(root)[0],
    "trajectory": lambda root: game_files(root)[0].with_name("traj_data.json"),
}


@pytest.mark.parametrize("what", LINKED)
def test_links_to_elsewhere_are_played(data: Path, copy: Path, tmp_path: Path, what: str) -> None:
    move_away(LINKED[what](copy), tmp_path / "elsewhere")
    assert source(copy) == source(data)
    env = ALFWorldEnv(data_dir=copy)
    for name in OfficialGames(data).all_ids("valid_seen"):
        text, info = env.reset(options={"game": name})
        assert "Your task is to" in text
        assert info["task_id"] == name


def test_a_link_to_the_folder_of_the_splits_may_have_any_name(data: Path, tmp_path: Path) -> None:
    (tmp_path / "snapshot").symlink_to(data / "json_2.1.1")
    assert source(tmp_path / "snapshot") == source(data)


@pytest.mark.parametrize("how", ["..", ".", "absolute", "empty", "nul", "long"])
def test_names_are_confined_to_the_folder(data: Path, how: str) -> None:
    name = OfficialGames(data).all_ids("valid_seen")[0]
    split, task, trial, file = name.split("/")
    outside = {
        "..": f"../json_2.1.1/{task}/{file}",
        ".": f"./{task}/{trial}/{file}",
        "absolute": str(data / "json_2.1.1" / name),
        "empty": f"{split}//{trial}/{file}",
        "nul": f"{split}/{task}\0/{trial}/{file}",
        "long": f"{split}/{task}/{'x' * 300}/{file}",
    }[how]
    with pytest.raises(UserError) as told:
        OfficialGames(data).find(outside)
    assert "\n" not in str(told.value)


LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


def replaced_by(kind: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        text = path.read_text()
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(path.parent / "nowhere")
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            content = {
                "lfs": LFS,
                "annex": "/annex/objects/SHA256E-s12--00\n",
                "empty": "",
                "cut": text[: len(text) // 2],
                "mark": f"\ufeff{text}",
                "latin": text.replace("{", "{\xe9", 1),
                "deep": "[" * 100_000,
                "list": "[]",
            }[kind]
            path.write_bytes(content.encode("latin-1" if kind == "latin" else "utf-8"))

    return change


DAMAGE = {
    "lfs": "is a Git LFS pointer, not the file: run git lfs pull",
    "annex": "is a git-annex pointer",
    "empty": "is empty",
    "cut": "is not JSON, so it is damaged or cut off",
    "mark": "begins with a byte order mark",
    "latin": "is not JSON",
    "deep": "is not JSON",
    "list": "is JSON, but no object",
    "folder": "is a folder",
    "link": "is a link that leads nowhere",
    "loop": "is a link that leads nowhere",
    "pipe": "is no regular file",
}


@pytest.mark.parametrize("file", ["game.tw-pddl", "traj_data.json"])
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_with_what_it_is(copy: Path, file: str, kind: str) -> None:
    path = game_files(copy)[0].with_name(file)
    replaced_by(kind)(path)
    with pytest.raises(DataFileError) as told:
        list_tasks(split="valid_seen", count=None, seed=0, data_dir=copy)
    assert str(path) in str(told.value)
    assert DAMAGE[kind] in str(told.value)
    assert "\n" not in str(told.value)
    # The same where one game is played without any list.
    with pytest.raises(DataFileError) as told:
        ALFWorldEnv(data_dir=copy).reset(
            options={"game": f"valid_seen/{path.parents[1].name}/{path.parent.name}/game.tw-pddl"}
        )
    assert str(path) in str(told.value)


PARTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no domain": (without("pddl_domain"), "it has no pddl_domain"),
    "empty domain": (lambda p: edit(p, pddl_domain=" "), "it has an empty pddl_domain"),
    "empty problem": (lambda p: edit(p, pddl_problem=""), "it has an empty pddl_problem"),
    "empty grammar": (lambda p: edit(p, grammar=""), "it has an empty grammar"),
    "grammar of another type": (lambda p: edit(p, grammar=[1]), "it has no grammar"),
    "no type": (lambda p: edit(p.with_name("traj_data.json"), task_type=3), "no task_type"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_game_without_a_part_is_named(copy: Path, case: str) -> None:
    change, says = PARTS[case]
    path = game_files(copy)[0]
    change(path)
    with pytest.raises(DataFileError) as told:
        OfficialGames(copy).all_ids("valid_seen")
    assert str(path.parent) in str(told.value)
    assert says in str(told.value)


@pytest.mark.parametrize("part", ["pddl_domain", "pddl_problem", "grammar"])
def test_a_part_that_is_cut_off_is_an_error_with_the_files_name(copy: Path, part: str) -> None:
    path = game_files(copy)[0]
    text = json.loads(path.read_text())[part]
    edit(path, **{part: text[: len(text) // 2]})
    name = str(path.relative_to(copy / "json_2.1.1"))
    with pytest.raises(DataFileError) as told:
        ALFWorldEnv(data_dir=copy).reset(options={"game": name})
    assert str(path) in str(told.value)
    assert "cannot be played, so its PDDL or grammar is damaged" in str(told.value)
    assert "\n" not in str(told.value)
