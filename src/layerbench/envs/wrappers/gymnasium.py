"""Any environment of Gymnasium with discrete or text actions, described in words."""

import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from layerbench.envs.actions import plain
from layerbench.envs.choices import nearest
from layerbench.envs.packages import package_of
from layerbench.envs.spec import EnvSpec
from layerbench.envs.wrappers.game import (
    Family,
    Game,
    Moment,
    as_name,
    for_small_models,
    ignores_its_seed,
    options_of,
    with_one_task,
)
from layerbench.errors import UserError

FAMILY = Family(
    "Gymnasium environments with discrete or text actions", "FrozenLake-v1", "gymnasium"
)

_MAX_NUMBERS = 64
_MAX_ACTIONS = 100
_DEFAULT_TURNS = 100
_ACTIONS: Mapping[str, Sequence[str]] = {
    "Acrobot": ("push left", "do nothing", "push right"),
    "Blackjack": ("stick", "hit"),
    "CartPole": ("push left", "push right"),
    "CliffWalking": ("up", "right", "down", "left"),
    "FrozenLake": ("left", "down", "right", "up"),
    "LunarLander": ("do nothing", "fire left", "fire main", "fire right"),
    "MountainCar": ("push left", "do nothing", "push right"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}
# Where the environment names no return that solves it.
_SUCCESS_AT = {"CliffWalking": -99.0, "CliffWalkingSlippery": -99.0}
# With ice that is not slippery: chance alone reaches the goal in one of 60 episodes.
_SMALL = {"FrozenLake-v1": {"env.config": "is_slippery=false", "env.max_turns": 20}}
_PLAYS = {
    "Acrobot": "swing two joints up",
    "Blackjack": "draw cards against a dealer",
    "CartPole": "balance a pole",
    "CliffWalking": "walk along a cliff",
    "CliffWalkingSlippery": "walk along a cliff that is slippery",
    "FrozenLake": "cross a frozen lake with holes",
    "FrozenLake8x8": "cross a larger frozen lake with holes",
    "MountainCar": "swing a car out of a valley",
    "Taxi": "take a passenger to a place",
}


class GymText(Game):
    """A Gymnasium environment that is read as text and acted on by the names of its actions.

    Args:
        env_id: Its Gymnasium id; ``module:ID`` imports the module that registers it.
        config: Arguments of the environment, as ``name=value,name=value``.
        actions: Names of its actions in order, separated by commas; empty for the known ones of
            some environments, and else ``action 0``, ``action 1`` and so on.
        describe: ``module:function`` that writes an observation as text; empty for its numbers.
        decimals: Decimals of the numbers.
        success_at: Return from which an episode counts as won; None for the environment's own
            ``reward_threshold``, or else any above 0.

    Raises:
        UserError: There is no such environment, its spaces cannot be put in words, or an argument
            does not fit it.
    """

    def __init__(
        self,
        *,
        env_id: str,
        config: str = "",
        actions: str = "",
        describe: str = "",
        decimals: int = 2,
        success_at: float | None = None,
    ) -> None:
        found = _spec_of(env_id)
        super().__init__(found.id)
        self._env = _make(env_id, options_of(config, "env.config"))
        self._names = _names(found, self._env.action_space, actions)
        self._describe = _function(describe) if describe else self._numbers
        self._decimals = decimals
        self._success_at = _threshold(found) if success_at is None else success_at
        _check_observations(env_id, self._env.observation_space)

    @property
    def lists_actions(self) -> bool:
        """Whether the actions are listed, and not free text."""
        return bool(self._names)

    def begin(self, seed: int, task: str) -> Moment:
        self._return = 0.0
        # The space is seeded for environments that sample from it.
        self._env.action_space.seed(seed)
        observation, _ = self._env.reset(seed=seed)
        return Moment(self._text(observation), self._names)

    def play(self, action: str) -> Moment:
        """Play an action of the space, by its name where the space is discrete."""
        chosen: Any = action
        if isinstance(self._env.action_space, spaces.Discrete):
            if plain(action) not in self._names:
                return Moment(f"There is no such action.\n{self._last}", self._names)
            chosen = self._names.index(plain(action)) + int(self._env.action_space.start)
        elif not self._env.action_space.contains(chosen):
            return Moment(f"That is no action here.\n{self._last}", self._names)
        observation, reward, over, cut, _ = self._env.step(chosen)
        self._return += float(reward)
        ended = bool(over or cut)
        return Moment(
            self._text(observation),
            self._names,
            reward=float(reward),
            # Before the end a return may be as high only because what costs is still to come.
            won=self._return >= self._success_at and (ended or self._success_at > 0),
            over=bool(over),
            cut=bool(cut) and not over,
        )

    def close(self) -> None:
        self._env.close()

    def _text(self, observation: object) -> str:
        self._last = str(self._describe(observation))
        return self._last

    def _numbers(self, observation: object) -> str:
        return _written(observation, self._env.observation_space, self._decimals)


def _written(observation: Any, space: gym.Space[Any], decimals: int) -> str:  # noqa: ANN401
    """Write an observation as numbers, one part a line.

    >>> _written(np.array([0.123, -4.0]), spaces.Box(-5, 5, (2,)), 2)
    '0.12 -4'
    """
    if isinstance(space, spaces.Dict):
        named = cast(Mapping[str, gym.Space[Any]], cast(Any, space).spaces).items()
        texts = [(name, _written(observation[name], part, decimals)) for name, part in named]
        return "\n".join(f"{name}: {text}" for name, text in texts)
    if isinstance(space, spaces.Tuple):
        parts = cast(Any, space).spaces
        pairs = zip(cast(Sequence[Any], observation), parts, strict=True)
        return "\n".join(_written(value, part, decimals) for value, part in pairs)
    if isinstance(space, spaces.Text):
        return str(observation)
    numbers = [float(number) for number in np.asarray(observation).ravel()]
    # Adding 0.0 turns -0.0 into 0.0.
    return " ".join(f"{round(number, decimals) + 0.0:g}" for number in numbers)


def _check_observations(env_id: str, space: gym.Space[Any]) -> None:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        inner = cast(Any, space).spaces
        parts: Any = inner.values() if isinstance(space, spaces.Dict) else inner
        for part in parts:
            _check_observations(env_id, part)
    elif isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        size = math.prod(space.shape)
        if size > _MAX_NUMBERS:
            raise UserError(
                f"gym:{env_id} is observed as {size:,} numbers: at most {_MAX_NUMBERS} are put "
                "into words"
            )
    elif not isinstance(space, spaces.Discrete | spaces.Text):
        raise UserError(f"gym:{env_id} is observed as {type(space).__name__}: no words for that")


def _names(found: Any, space: gym.Space[Any], given: str) -> tuple[str, ...]:  # noqa: ANN401
    if isinstance(space, spaces.Text):
        return ()
    if not isinstance(space, spaces.Discrete) or space.n > _MAX_ACTIONS:
        many = f"{space.n:,} actions" if isinstance(space, spaces.Discrete) else f"actions {space}"
        raise UserError(
            f"gym:{found.id} has {many}: only up to {_MAX_ACTIONS} discrete ones or text are played"
        )
    count = int(space.n)
    known = next((names for name, names in _ACTIONS.items() if found.name.startswith(name)), ())
    names = tuple(name.strip() for name in given.split(",")) if given else tuple(known)
    if not names:
        return tuple(f"action {number}" for number in range(count))
    if len(set(names)) != count or not all(names):
        raise UserError(f"env.actions names {len(names)} actions: gym:{found.id} has {count}")
    return names


def _threshold(found: Any) -> float:  # noqa: ANN401
    known = _SUCCESS_AT.get(found.name, found.reward_threshold)
    return math.nextafter(0.0, 1.0) if known is None else float(known)


def _function(path: str) -> Callable[[object], object]:
    try:
        return pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"env.describe is '{path}', no module:function: {error}") from error


def _spec_of(env_id: str) -> Any:  # noqa: ANN401
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ImportError) as error:
        own = [name for name, _ in listing()]
        raise UserError(
            f"no environment of Gymnasium named '{env_id}': {nearest(env_id, own)}"
        ) from error


def _make(env_id: str, config: Mapping[str, Any]) -> gym.Env[Any, Any]:
    try:
        return gym.make(env_id, disable_env_checker=True, **config)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    # Whatever a foreign constructor raises, a wrong argument as much as a missing package.
    except Exception as error:
        raise UserError(f"gym:{env_id} cannot be made: {' '.join(str(error).split())}") from error


def spec(argument: str) -> EnvSpec:
    """Describe ``gym:ID``.

    Raises:
        UserError: There is no such environment.
    """
    found = _spec_of(argument)
    env = GymText(env_id=argument)
    free_text = {} if env.lists_actions else {"agent.action_mode": "generate"}
    is_one = env.lists_actions and ignores_its_seed(env)
    env.close()
    described = EnvSpec(
        env="layerbench.envs.wrappers.gymnasium:GymText",
        name=as_name(f"gym:{argument}"),
        arguments={"env_id": argument},
        package=package_of(str(found.entry_point).partition(":")[0]).name,
        max_turns=found.max_episode_steps or _DEFAULT_TURNS,
        rules=_rules(found),
        settings=free_text,
        presets=for_small_models(_SMALL[found.id]) if found.id in _SMALL else {},
    )
    return with_one_task(described) if is_one else described


def _rules(found: Any) -> str:  # noqa: ANN401
    plays = _PLAYS.get(found.name)
    task = f"Your task: {plays}. " if plays else f"You act in the environment {found.name}. "
    return f"{task}You are told what you observe after each action, and choose the next."


def listing() -> Iterable[tuple[str, str]]:
    """List those of Gymnasium's own environments that need no other package."""
    newest = {found.name: name for name, found in gym.registry.items() if found.namespace is None}
    return [(newest[name], plays) for name, plays in _PLAYS.items() if name in newest]
