"""Published ALFWorld games as a list, and folders in their form."""

import json
from pathlib import Path

from layerbench.envs.alfworld import generator
from layerbench.envs.alfworld.games import Game, OfficialGames


def official_games(data_dir: Path, split: str) -> tuple[Game, ...]:
    """List the published games of a split, sorted by their paths."""
    games = OfficialGames(data_dir)
    return tuple(games.find(game_id) for game_id in games.all_ids(split))


def write_official_games(root: Path, *, per_split: int = 3) -> Path:
    """Write generated games where ``alfworld-download`` puts published ones; return the folder."""
    for split in ("train", "valid_seen"):
        names = generator.generated_ids(
            split="train" if split == "train" else "seen",
            difficulty="easy",
            count=per_split,
            seed=0,
        )
        for number, name in enumerate(names):
            kind = generator.game_task_type(name)
            trial = root / "json_2.1.1" / split / f"{kind}-Thing-None-Place-{number}" / "trial_T1"
            trial.mkdir(parents=True)
            game = {**generator.game_data(name), "solvable": True}
            (trial / "game.tw-pddl").write_text(json.dumps(game))
            (trial / "traj_data.json").write_text(json.dumps({"task_type": kind}))
    return root


def game_files(root: Path, split: str = "valid_seen") -> list[Path]:
    """List the game files of a split, in the order of their names."""
    return sorted((root / "json_2.1.1" / split).glob("*/*/game.tw-pddl"))
