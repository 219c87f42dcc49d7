"""Published ALFWorld games as a list."""

from pathlib import Path

from layerbench.envs.alfworld.games import Game, OfficialGames


def official_games(data_dir: Path, split: str) -> tuple[Game, ...]:
    """List the published games of a split, sorted by their paths."""
    games = OfficialGames(data_dir)
    return tuple(games.find(game_id) for game_id in games.all_ids(split))
