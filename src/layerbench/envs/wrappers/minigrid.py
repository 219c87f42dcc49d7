"""MiniGrid and BabyAI (Chevalier-Boisvert et al. 2019, arXiv:1810.08272), seen in words."""

import hashlib
import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym

from layerbench.envs.actions import plain
from layerbench.envs.choices import check_known
from layerbench.envs.demonstrations import DemonstratedTurn, Demonstration
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import (
    Family,
    Game,
    Moment,
    for_small_models,
    ignores_its_seed,
    imported,
    silence,
    with_one_task,
)
from layerbench.errors import UserError

FAMILY = Family(
    "levels of BabyAI and MiniGrid, told in words",
    "BabyAI-GoToLocal-v0",
    "minigrid",
    extra="minigrid",
)

ACTIONS = (
    "turn left",
    "turn right",
    "go forward",
    "pick up",
    "drop",
    "toggle",
    "done",
)
"""The actions by their numbers in MiniGrid; ``toggle`` opens and closes."""

_MAX_SEARCHES = 5_000
"""Searches for a way by BabyAI's bot in one episode; most take hundreds."""

_DOOR_STATES = ("open", "closed", "locked")
_NOTHING = ("unseen", "empty", "floor", "wall")


# Levels of one room, and the turns in which a small model can learn them.
_ONE_ROOM = {
    "BabyAI-GoToLocal-v0": 20,
    "BabyAI-GoToLocalS5N2-v0": 15,
    "BabyAI-GoToObj-v0": 20,
    "BabyAI-GoToObjS4-v0": 15,
    "BabyAI-GoToRedBallGrey-v0": 20,
    "BabyAI-GoToRedBallNoDists-v0": 20,
}


class MiniGrid(Game):
    """A grid world of which the agent is told what it sees, carries and has to do.

    The agent sees seven cells to the front and three to each side. Things are placed relative to
    it: ``a red ball 2 ahead and 1 left``.

    Args:
        level: Gymnasium id of the level, such as ``BabyAI-GoToLocal-v0``.
        walls: Tell of the walls: the nearest ahead and at each side.
        reward: ``steps`` for MiniGrid's own reward at success, 1 less up to 0.9 for the steps that
            it took, and ``success`` for 1.

    Raises:
        UserError: There is no such level or reward.
    """

    def __init__(self, *, level: str, reward: str = "steps", walls: bool = True) -> None:
        check_known("reward", reward, ("steps", "success"))
        _check_level(level)
        super().__init__(level)
        self._tells_walls = walls
        self._pays_success = reward == "success"
        self.grid: Any = gym.make(level, disable_env_checker=True).unwrapped  # pyright: ignore[reportUnknownMemberType]

    def begin(self, seed: int, task: str) -> Moment:
        with silence():
            seen, _ = self.grid.reset(seed=seed)
        return Moment(
            f"Your mission: {self.grid.mission}\n{self._look(seen)}", ACTIONS, self._anchor()
        )

    def play(self, action: str) -> Moment:
        """Play an action by its name; an unknown one does nothing."""
        name = plain(action)
        if name not in ACTIONS:
            seen = self.grid.gen_obs()
            return Moment(f"Nothing happens.\n{self._look(seen)}", ACTIONS, self._anchor())
        seen, reward, over, cut, _ = self.grid.step(ACTIONS.index(name))
        won = bool(over) and reward > 0
        return Moment(
            text=self._look(seen),
            actions=ACTIONS,
            anchor=self._anchor(),
            reward=float(won) if self._pays_success else float(reward),
            won=won,
            over=bool(over),
            cut=bool(cut) and not over,
        )

    def _look(self, seen: Any) -> str:  # noqa: ANN401 - MiniGrid's observation
        held = self.grid.carrying
        lines = [f"You see {', '.join(_things(seen['image'], self._tells_walls)) or 'nothing'}."]
        return "\n".join([*lines, *([f"You carry a {held.color} {held.type}."] if held else [])])

    def _anchor(self) -> str:
        grid, held = self.grid, self.grid.carrying
        state = (
            grid.grid.encode().tolist(),
            [int(part) for part in grid.agent_pos],
            int(grid.agent_dir),
            (held.color, held.type) if held else None,
            _done(getattr(grid, "instrs", None)),
            grid.mission,
        )
        return hashlib.sha256(repr(state).encode()).hexdigest()


def _things(image: Any, walls: bool) -> list[str]:  # noqa: ANN401 - an array of shape (width, height, 3)
    """Describe what is seen, the nearest first; of walls only the nearest in each direction."""
    names = imported("minigrid.core.constants", extra="minigrid")
    width, height = image.shape[:2]
    middle, last = width // 2, height - 1
    things: list[tuple[int, str]] = []
    for column in range(width):
        for row in range(height):
            kind, color, state = (int(part) for part in image[column, row])
            ahead, right = last - row, column - middle
            name = names.IDX_TO_OBJECT[kind]
            # The agent's own cell shows what it carries.
            if name in _NOTHING or (ahead, right) == (0, 0):
                continue
            words = f"{names.IDX_TO_COLOR[color]} {name}"
            if name == "door":
                words = f"{_DOOR_STATES[state]} {words}"
            # The only words that begin with a vowel.
            article = "an" if words.startswith("open") else "a"
            words = "lava" if name == "lava" else f"{article} {words}"
            things.append((ahead + abs(right), f"{words} {_place(ahead, right)}"))
    seen = _walls(image, middle, last, names) if walls else ()
    return [*(text for _, text in sorted(things)), *seen]


def _walls(image: Any, middle: int, last: int, names: Any) -> Iterator[str]:  # noqa: ANN401
    wall = names.OBJECT_TO_IDX["wall"]
    rays = {
        "ahead": [image[middle, last - step, 0] for step in range(1, last + 1)],
        "left": [image[middle - step, last, 0] for step in range(1, middle + 1)],
        "right": [image[middle + step, last, 0] for step in range(1, middle + 1)],
    }
    for direction, cells in rays.items():
        if wall in cells:
            yield f"a wall {cells.index(wall) + 1} {direction}"


def _place(ahead: int, right: int) -> str:
    """Name a cell as the agent sees it.

    >>> _place(2, -1), _place(1, 0), _place(0, 3)
    ('2 ahead and 1 left', '1 ahead', '3 right')
    """
    side = f"{abs(right)} {'left' if right < 0 else 'right'}" if right else ""
    return " and ".join(filter(None, (f"{ahead} ahead" if ahead else "", side)))


def _done(instruction: Any) -> Any:  # noqa: ANN401 - BabyAI's instructions
    """Tell which parts of a mission of several parts are done."""
    parts = [getattr(instruction, name, None) for name in ("instr_a", "instr_b")]
    flags = [str(getattr(instruction, name, "")) for name in ("a_done", "b_done")]
    return [*flags, *(_done(part) for part in parts if part is not None)]


def demonstrate(
    env: MiniGrid, seed: int, *, noise_levels: Sequence[float], max_turns: int
) -> Iterator[Demonstration]:
    """Play a level of BabyAI by its bot once for each noise level.

    Args:
        env: The environment.
        seed: Seed of the task; its id is the seed.
        noise_levels: Probabilities of a random action at each turn (disturbances as in DART,
            arXiv:1703.09327).
        max_turns: Actions after which an episode is truncated.
    """
    bots = imported("minigrid.utils.baby_ai_bot", extra="minigrid")
    for noise in noise_levels:
        rng = random.Random(f"demonstration|{seed}|{noise}")
        start, _ = env.reset(seed=seed)
        bot = _patient(bots.BabyAIBot(env.grid))
        turns: list[DemonstratedTurn] = []
        taken: int | None = None
        over = won = False
        while not over and len(turns) < max_turns:
            try:
                best = int(bot.replan(taken))
            # It gives up by several errors, for example where a random action opened a box.
            except Exception:  # noqa: BLE001
                break
            taken = rng.randrange(len(ACTIONS)) if rng.random() < noise else best
            text, _, over, cut, info = env.step(ACTIONS[taken])
            turns.append(DemonstratedTurn(ACTIONS[taken], taken == best, text))
            over, won = over or cut, info["success"]
        yield Demonstration(str(seed), noise, start, tuple(turns), won)


def _patient(bot: Any) -> Any:  # noqa: ANN401
    """Let a bot that plans in circles give up, as it does in some mazes."""
    search, left = bot._shortest_path, itertools.count(_MAX_SEARCHES, -1)

    def counted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        if next(left) <= 0:
            raise RuntimeError("the bot finds no way")
        return search(*arguments, **options)

    bot._shortest_path = counted
    return bot


def _levels() -> list[str]:
    imported("minigrid", extra="minigrid")
    # In the order of their versions, so that the newest is left of each.
    levels = {
        found.name: name
        for name, found in sorted(gym.registry.items(), key=lambda item: item[1].version or 0)
        if name.startswith(("BabyAI-", "MiniGrid-"))
        # Those made by wave function collapse need packages that are not installed.
        and ".wfc:" not in str(found.entry_point)
    }
    return sorted(levels.values())


def _check_level(level: str) -> None:
    check_known("level of minigrid", level, _levels())


def spec(argument: str) -> EnvSpec:
    """Describe ``minigrid:LEVEL``.

    Raises:
        UserError: There is no such level, or MiniGrid is not installed.
    """
    _check_level(argument)
    described = EnvSpec(
        env="layerbench.envs.wrappers.minigrid:MiniGrid",
        name=f"minigrid:{argument}",
        arguments={"level": argument},
        package="minigrid",
        max_turns=64,
        rules=(
            "You walk through rooms to fulfil a mission. You turn by a quarter, go one cell "
            "forward, pick up what is 1 ahead, drop what you carry there, and toggle doors and "
            "boxes that are 1 ahead."
        ),
        presets=_presets(argument),
    )
    level = MiniGrid(level=argument)
    return with_one_task(described) if ignores_its_seed(level) else described


def _presets(level: str) -> Mapping[str, Mapping[str, Any]]:
    if level not in _ONE_ROOM:
        return {}
    small = {"env.max_turns": _ONE_ROOM[level], "env.reward": "success", "env.walls": False}
    return for_small_models(small)


def listing() -> Iterable[tuple[str, str]]:
    """List the levels with what the agent has to do, or one of them if MiniGrid is missing."""
    about = "BabyAI: follow an instruction in a grid world told in words"
    try:
        levels = _levels()
    except UserError:
        levels = ["BabyAI-GoToLocal-v0"]
    return [
        (level, about if level.startswith("BabyAI") else "MiniGrid: a grid world told in words")
        for level in levels
    ]
