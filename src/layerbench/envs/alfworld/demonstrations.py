"""Episodes of the explorer on generated games, with mistakes to recover from."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.alfworld.engine import Engine, EngineState
from layerbench.envs.alfworld.explorer import Explorer
from layerbench.envs.alfworld.generator import game_data
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.types import Observation

_MOVES = ("go", "open", "take", "move")
_SENSIBLE_MISTAKES = 0.75
_MAX_TURNS = 40


def demonstrate(
    engine: Engine, game: str, *, noise_levels: Sequence[float]
) -> Iterator[Demonstration]:
    """Play a game once for each noise level (disturbances as in DART, arXiv:1703.09327).

    Args:
        engine: Is made to load the game.
        game: A generated game's name.
        noise_levels: Shares of turns to play at random.
    """
    engine.load(game_data(game))
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{game}|{noise}")
        state = engine.reset()
        start = _observed(state)
        explorer = Explorer(start)
        turns: list[DemonstratedTurn] = []
        while len(turns) < _MAX_TURNS and not state.won:
            wish = explorer.act(_observed(state))
            if wish is None:
                break
            action = _mistake(state.admissible, rng) if rng.random() < noise else wish
            state = engine.step(action)
            explorer.hear(action, _observed(state))
            turns.append(DemonstratedTurn(action, action == wish, _observed(state).text))
        yield Demonstration(game, noise, start.text, tuple(turns), state.won)


def _mistake(admissible: Sequence[str], rng: random.Random) -> str:
    """Draw an action, mostly one that moves things on."""
    pool = [action for action in admissible if action != "help"]
    if rng.random() < _SENSIBLE_MISTAKES:
        pool = [action for action in pool if action.split(" ")[0] in _MOVES] or pool
    return rng.choice(pool)


def _observed(state: EngineState) -> Observation:
    return Observation(state.feedback.strip(), state.admissible)
