"""What all wrapped games share: the Gymnasium interface around a start and a move."""

import dataclasses
import importlib
import io
import random
import re
import shutil
import sys
import warnings
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import gymnasium as gym
import numpy as np
import yaml

from layerbench.envs.choices import nearest
from layerbench.envs.spaces import AnyText
from layerbench.envs.spec import EnvSpec
from layerbench.envs.turn_clock import TurnClock
from layerbench.errors import UserError
from layerbench.optional_packages import is_installed

_PROBED_TURNS = 20
_SMALL_PRESETS = ("default", "quick")
SEEDS = 2**31
"""Seeds are taken modulo this: no generator of a wrapped package takes larger ones."""


GET_JAVA = "install a runtime of version 8 or later, such as Debian's default-jre-headless"


@dataclass(frozen=True, slots=True)
class Family:
    """The environments of one package.

    Attributes:
        about: What they are, in a few words.
        example: The name of one of them, after the colon.
        module: The package, as it is imported.
        extra: The extra that brings it; empty if this package needs it anyway.
        needs_java: It runs on Java.
    """

    about: str
    example: str
    module: str
    extra: str = ""
    needs_java: bool = False

    def missing(self) -> str:
        """Say how to get what is missing; empty if nothing is."""
        if not is_installed(self.module):
            return f"pip install 'layerbench[{self.extra}]'"
        return f"for Java, {GET_JAVA}" if self.needs_java and not has_java() else ""


def has_java() -> bool:
    """Tell whether Java is found."""
    return shutil.which("java") is not None


@dataclass(frozen=True, slots=True)
class Moment:
    """What a game shows before the next action.

    Attributes:
        text: What the agent reads.
        actions: Every action the game would accept now; empty if they are not listed.
        anchor: Key of the state; empty if it is the text.
        reward: Reward of the last action.
        won: The goal holds.
        over: The game has ended by its own rules.
        cut: The game was cut off by a limit of its own.
    """

    text: str
    actions: tuple[str, ...] = ()
    anchor: str = ""
    reward: float = 0.0
    won: bool = False
    over: bool = False
    cut: bool = False


class Game(gym.Env[str, str]):
    """A game that is set up by a seed or by the name of a task, and played in text.

    Args:
        kind: Type of its tasks, for scores by type.
        tasks: Names that ``reset(options={"task": NAME})`` takes; empty if the seed alone decides.
    """

    def __init__(self, kind: str, *, tasks: Collection[str] = ()) -> None:
        self._kind = kind
        self._tasks = tasks
        # Whoever plays it limits the turns.
        self._clock = TurnClock(sys.maxsize)
        self.observation_space = AnyText(max_chars=100_000)
        self.action_space = AnyText(max_chars=100_000)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Begin an episode; see ``gymnasium.Env.reset``.

        Args:
            seed: Seed of the game.
            options: ``task``, the name of a task, where the game has such.

        Raises:
            ValueError: The option or the task is unknown.
        """
        super().reset(seed=seed)
        self._clock.reset()
        options = options or {}
        allowed = {"task"} if self._tasks else set[str]()
        unknown = options.keys() - allowed
        if unknown:
            there_are = "the only one is task" if allowed else "there are none"
            raise ValueError(f"no reset option named '{min(unknown)}': {there_are}")
        task = str(options.get("task", ""))
        if task and task not in self._tasks:
            raise ValueError(f"there is no task '{task}': {nearest(task, self._tasks)}")
        drawn = int(self.np_random.integers(SEEDS)) if seed is None else seed % SEEDS
        if self._tasks and not task:
            task = list(self._tasks)[drawn % len(self._tasks)]
        moment = self.begin(drawn, task)
        self._clock.start()
        return moment.text, self._info(moment)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Act; see ``gymnasium.Env.step``.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        self._clock.tick()
        moment = self.play(action)
        self._clock.stop(terminated=moment.over or moment.cut)
        return moment.text, moment.reward, moment.over, moment.cut, self._info(moment)

    def begin(self, seed: int, task: str) -> Moment:
        """Set up a game: equal arguments give equal games, whatever was played before."""
        raise NotImplementedError

    def play(self, action: str) -> Moment:
        """Play one action of the game that was set up last."""
        raise NotImplementedError

    def _info(self, moment: Moment) -> dict[str, Any]:
        info: dict[str, Any] = {
            "success": moment.won,
            "admissible_actions": moment.actions,
            "task_type": self._kind,
        }
        return info | ({"anchor": moment.anchor} if moment.anchor else {})


def as_name(text: str) -> str:
    """Write a text as the name of an environment.

    >>> as_name("gym:ALE/Pong v5")
    'gym:ALE.Pong.v5'
    """
    return re.sub(r"[^A-Za-z0-9_.:-]", ".", text)[:100]


def for_small_models(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Give the presets that train the embedded model these settings."""
    return dict.fromkeys(_SMALL_PRESETS, settings)


def with_one_task(spec: EnvSpec) -> EnvSpec:
    """Describe a game that is the same for every seed: there is one task to train on and score."""
    settings = {"train.tasks": 1, "train.tasks_per_iteration": 1, "eval.tasks": 1}
    return dataclasses.replace(
        spec, splits={"train": 1, "test": 1}, settings={**spec.settings, **settings}
    )


def ignores_its_seed(game: Game) -> bool:
    """Play listed actions from a few seeds, and tell whether it is the same game."""
    played: list[object] = []
    for seed in range(4):
        rng = random.Random(0)
        _, info = start = game.reset(seed=seed)
        episode: list[object] = [start]
        over = False
        while info["admissible_actions"] and not over and len(episode) < _PROBED_TURNS:
            _, _, terminated, truncated, info = result = game.step(
                rng.choice(info["admissible_actions"])
            )
            episode.append(result)
            over = terminated or truncated
        played.append(episode)
    return all(episode == played[0] for episode in played)


class OwnRandom:
    """The global generators of ``random`` and numpy, as a context that leaves no trace.

    For packages that draw from them, so that games side by side do not disturb each other.

    >>> game = OwnRandom(3)
    >>> with game: first = random.random()
    >>> with game: second = random.random()
    >>> with OwnRandom(3): (random.random(), random.random()) == (first, second)
    True

    Args:
        seed: Seed of both.
    """

    def __init__(self, seed: int) -> None:
        # The legacy generator: it is the one that packages share without asking.
        self._numpy: Any = np.random.RandomState(seed).get_state()
        self._python = random.Random(seed).getstate()

    def __enter__(self) -> None:
        self._outer: tuple[Any, Any] = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._python, self._numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.setstate(self._outer[0])
        np.random.set_state(self._outer[1])  # noqa: NPY002


def imported(module: str, *, extra: str) -> Any:  # noqa: ANN401 - packages without types
    """Import a package that this one does not need by itself.

    Raises:
        UserError: It is not installed; the message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise UserError(
            f"{extra} environments need {missing}: pip install 'layerbench[{extra}]'"
        ) from error


@contextmanager
def silence() -> Generator[None]:
    """Drop what a package prints and warns of, for example of how it made a level."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        yield


def options_of(text: str, what: str) -> dict[str, Any]:
    """Read ``name=value,name=value``, with values as in YAML.

    >>> options_of("size=4, is_slippery=false, room=[5, 5]", "env.config")
    {'size': 4, 'is_slippery': False, 'room': [5, 5]}

    Raises:
        UserError: It is written otherwise.
    """
    try:
        read: object = yaml.safe_load("{" + re.sub(r"(^|,)\s*(\w+)\s*=", r"\1 \2: ", text) + "}")
    except yaml.YAMLError:
        read = None
    options = cast(dict[object, Any], read) if isinstance(read, dict) else {None: None}
    if not all(isinstance(name, str) and value is not None for name, value in options.items()):
        raise UserError(f"{what} is '{text}': write name=value,name=value")
    return cast(dict[str, Any], options)


def lines(texts: Collection[str]) -> tuple[str, ...]:
    r"""Keep the texts that are one line with something in it, once each, sorted.

    >>> lines(["look", "go", "look", "a\nb", " "])
    ('go', 'look')
    """
    return tuple(sorted({text for text in texts if text.strip() and len(text.splitlines()) == 1}))
