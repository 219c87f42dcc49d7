"""Time ALFWorld on stock textworld and on our engine; print the ratios and write them as JSON.

    python bench/alfworld_speed.py [--data-dir DIR] [--games N] [--steps N] [--out FILE]

Both play the same commands of the same games in the same process, and what they say is compared
on the way. Times are CPU seconds of this process. A "warm" start is that of a game that was
loaded before: of the game only its translation is left, on disk, as if another process had
played it.

Without ``--data-dir`` the games are generated with everything a floor plan lists, which is the
size of the published ones.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
from textworld.envs.pddl import PddlEnv

from layerbench.envs.alfworld import pddl_env
from layerbench.envs.alfworld.engine import Engine
from layerbench.envs.alfworld.games import OfficialGames
from layerbench.envs.alfworld.generator import game_data, generated_ids

Content = Path | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Times:
    """Times of one engine, in CPU seconds.

    Attributes:
        cold_start: Load and reset of a game for the first time (s), the mean over games.
        warm_start: Load and reset of a game for the second time (s), the mean over games.
        steps_per_second: Commands in a CPU second, over all games.
    """

    cold_start: float
    warm_start: float
    steps_per_second: float


class Stock:
    """Stock textworld, behind the calls of ``Engine``."""

    def __init__(self) -> None:
        self._env: Any = AlfredDemangler(PddlEnv(), shuffle=False)

    def start(self, game: Content) -> tuple[str, tuple[str, ...]]:
        """Load and reset."""
        self._env.load(str(game) if isinstance(game, Path) else game)
        return self._said(self._env.reset())

    def step(self, command: str) -> tuple[str, tuple[str, ...]]:
        """Play a command."""
        return self._said(self._env.step(command)[0])

    def _said(self, state: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        return state["feedback"], tuple(state["admissible_commands"])


class Ours:
    """Our engine; it forgets each game before it starts it."""

    def __init__(self) -> None:
        self._engine = Engine()

    def start(self, game: Content) -> tuple[str, tuple[str, ...]]:
        """Load and reset."""
        pddl_env._GAMES.clear()
        self._engine.load(game)
        state = self._engine.reset()
        return state.feedback, state.admissible

    def step(self, command: str) -> tuple[str, tuple[str, ...]]:
        """Play a command."""
        state = self._engine.step(command)
        return state.feedback, state.admissible


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long the work took (CPU s), and its result."""
    start = process_time()
    result = work()
    return process_time() - start, result


def play(engine: Stock | Ours, games: list[Content], num_steps: int) -> tuple[Times, list[object]]:
    """Play random commands, the same for every engine with the same admissible commands."""
    said: list[object] = []
    cold = warm = stepping = 0.0
    for number, game in enumerate(games):
        cold += timed(lambda game=game: engine.start(game))[0]
        seconds, (feedback, admissible) = timed(lambda game=game: engine.start(game))
        warm += seconds
        rng = random.Random(number)
        for _ in range(num_steps):
            said.append((feedback, admissible))
            command = rng.choice(admissible)
            seconds, (feedback, admissible) = timed(lambda command=command: engine.step(command))
            stepping += seconds
        sys.stderr.write(f"{type(engine).__name__.lower()}: game {number + 1} of {len(games)}\n")
    count = len(games)
    return Times(cold / count, warm / count, count * num_steps / stepping), said


def main() -> int:
    """Run the benchmark; the exit status is 1 if the engines disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="published games (the split train)")
    parser.add_argument("--games", type=int, default=6)
    parser.add_argument("--steps", type=int, default=20, help="steps a game")
    default = Path(__file__).parent / "results" / "alfworld_speed.json"
    parser.add_argument("--out", type=Path, default=default)
    settings = parser.parse_args()
    if settings.data_dir:
        source = OfficialGames(settings.data_dir)
        ids = source.all_ids("train")[: settings.games]
        games: list[Content] = [source.find(game_id).content for game_id in ids]
    else:
        names = generated_ids(split="train", difficulty="full", count=settings.games, seed=0)
        games = [game_data(name) for name in names]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LAYERBENCH_CACHE"] = cache
        ours, our_words = play(Ours(), games, settings.steps)
    stock, stock_words = play(Stock(), games, settings.steps)
    ratios = {
        "steps": ours.steps_per_second / stock.steps_per_second,
        "warm_start": stock.warm_start / ours.warm_start,
        "cold_start": stock.cold_start / ours.cold_start,
    }
    sys.stdout.write(
        f"{'':8}{'steps/s':>10}{'warm start (s)':>16}{'cold start (s)':>16}\n"
        f"{'stock':8}{stock.steps_per_second:>10.1f}{stock.warm_start:>16.3f}"
        f"{stock.cold_start:>16.3f}\n"
        f"{'ours':8}{ours.steps_per_second:>10.1f}{ours.warm_start:>16.4f}"
        f"{ours.cold_start:>16.3f}\n"
        f"{'ratio':8}{ratios['steps']:>10.0f}{ratios['warm_start']:>16.0f}"
        f"{ratios['cold_start']:>16.1f}\n"
    )
    result = {
        "games": settings.games,
        "steps_per_game": settings.steps,
        "source": "published" if settings.data_dir else "generated, full",
        "same_words": our_words == stock_words,
        "stock": asdict(stock),
        "ours": asdict(ours),
        "ratios": ratios,
    }
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if our_words == stock_words else 1


if __name__ == "__main__":
    raise SystemExit(main())
