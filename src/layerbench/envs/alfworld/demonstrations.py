"""Demonstrations of the explorer on generated games, with random actions to recover from."""

import random
from collections.abc import Iterator, Sequence

from layerbench.envs.alfworld.engine import Engine, EngineState
from layerbench.envs.alfworld.explorer import Explorer
from layerbench.envs.alfworld.generator import game_data
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.types import Observation

_MOVES = ("go", "open", "take", "move")
# Share of the random actions that are drawn among ``_MOVES`` where possible: others, such as look
# and examine, change nothing that would have to be mended.
_MOVE_SHARE = 0.75
_MAX_TURNS = 40


def demonstrate(
    engine: Engine, game: str, *, noise_levels: Sequence[float]
) -> Iterator[Demonstration]:
    """Play a game once for each noise level (disturbances as in DART, arXiv:1703.09327).

    Args:
        engine: The engine to play on.
        game: Name of a generated game.
        noise_levels: Probabilities of a random action at each turn.
    """
    engine.load(game_data(game))
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{game}|{noise}")
        state = engine.reset()
        start = _observation(state)
        explorer = Explorer(start)
        turns: list[DemonstratedTurn] = []
        while len(turns) < _MAX_TURNS and not state.won:
            choice = explorer.act(_observation(state))
            if choice is None:
                break
            action = _random_action(state.admissible, rng) if rng.random() < noise else choice
            state = engine.step(action)
            answer = _observation(state)
            explorer.note(action, answer)
            turns.append(DemonstratedTurn(action, action == choice, answer.text))
        yield Demonstration(game, noise, start.text, tuple(turns), state.won)


def _random_action(admissible: Sequence[str], rng: random.Random) -> str:
    """Draw an action, mostly one that changes the state."""
    pool = [action for action in admissible if action != "help"]
    if rng.random() < _MOVE_SHARE:
        pool = [action for action in pool if action.split(" ")[0] in _MOVES] or pool
    return rng.choice(pool)


def _observation(state: EngineState) -> Observation:
    return Observation(state.feedback.strip(), state.admissible)
