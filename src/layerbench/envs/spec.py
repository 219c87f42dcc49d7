"""What an author says about an environment: its ``SPEC``."""

import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from layerbench.envs.task_lists import MOST_SEEDS
from layerbench.envs.types import Task
from layerbench.errors import UserError

GENERIC_RULES = (
    "You act in a world described in text, one action at a time, to reach the goal you are given. "
    "After each action you are told what it led to."
)
"""Rules for the system message of an environment that gives none."""

Option = str | int | float | bool | None
"""Value of an option, as it can be typed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
_OPTION_TYPES = (str, int, float, bool, type(None))
# The session sets the first, and nobody watches.
_NO_OPTIONS = ("max_turns", "render_mode")
_LONGEST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSpec:
    """An environment, and what a run has to know about it.

    In a file or module it is called ``SPEC``; ``layerbench run ./file.py`` finds it there. All but
    ``env`` have defaults that suit a procedural environment, whose tasks are seeds.

    Attributes:
        env: Class of the environment, a ``gymnasium.Env[str, str]``, or a function that makes one;
            or either as ``module:name``, which is imported when it is first used.
        name: Name in commands, records and tables; empty takes that of the file, or the one under
            which a package has registered the environment.
        version: Raise it when the tasks or rules change: scores of different versions never share
            a table.
        max_turns: Actions after which an episode is truncated, unless the settings say otherwise.
        counts_turns: The environment truncates by itself, after its argument ``max_turns``.
        rules: Rules for the system message of the prompt, in a few sentences.
        option_rules: Further sentences by the name and value of an option, where they hold only for
            it: ``{"tools": {"calculator": "You may ..."}}``.
        splits: The tasks of each split. A number: so many seeds, other ones in each split, where
            each is played by ``reset(seed=...)``. Or their names: each is played by
            ``reset(options={"task": name})``.
        tasks: A function that lists tasks in place of ``splits``, or its ``module:name``; called as
            ``tasks(split=, count=, seed=, **options)`` with those of the options that it takes, it
            returns a list of ``Task``.
        train_split: Split of the tasks to train on.
        eval_splits: Splits of the tasks to score.
        options: Default values of the environment's options, which are settings ``env.NAME``; None
            takes all keyword arguments of ``env`` that have a default of plain data.
        arguments: Fixed keyword arguments of ``env``, which are no options.
        success_at: The return (sum of rewards) from which on an episode counts as a success, for an
            environment whose ``info`` has no ``success``.
        settings: Other default values of a run's settings by name, such as
            ``{"agent.action_mode": "generate"}``, in every preset.
        presets: The same for one preset alone, by its name.
        package: Distribution whose version records name; empty is that of the code of ``env``.
        gym_id: Gymnasium id; empty derives it from name and version.
        source: A function that names the source of the tasks as a ``TaskSource``, or its
            ``module:name``, called as ``source(splits=, **options)``; empty where the only source
            is the environment's code.
        origin_options: Options that choose the source or say where its files lie. What was played
            follows from the source's name, so that records may differ in them.
        standard_place: Values of these options that mean files where they usually lie on a machine;
            empty where there is no such place.

    Raises:
        UserError: A field cannot have its value.
    """

    env: Callable[..., Any] | str
    name: str = ""
    version: int = 0
    max_turns: int = 30
    counts_turns: bool = False
    rules: str = GENERIC_RULES
    splits: Mapping[str, int | Sequence[str]] = field(
        default_factory=lambda: {"train": 10_000, "test": 1_000}
    )
    tasks: Callable[..., Sequence[Task]] | str = ""
    train_split: str = "train"
    eval_splits: Sequence[str] = ("test",)
    options: Mapping[str, Option] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    success_at: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    package: str = ""
    gym_id: str = ""
    source: Callable[..., Any] | str = ""
    origin_options: tuple[str, ...] = ()
    standard_place: Mapping[str, Any] = field(default_factory=dict[str, Any])
    option_rules: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]]
    )

    def __post_init__(self) -> None:
        for name in ("env", "tasks", "source"):
            _check_callable(name, getattr(self, name), required=name == "env")
        is_named = not self.name or _NAME.fullmatch(str(cast(object, self.name)))
        _check(bool(is_named), "name", self.name, "letters, digits and any of - _ . :")
        _check(_is_whole(self.version, 0), "version", self.version, "a whole number")
        _check(_is_whole(self.max_turns, 1), "max_turns", self.max_turns, "a whole number above 0")
        is_flag = type(cast(object, self.counts_turns)) is bool
        _check(is_flag, "counts_turns", self.counts_turns, "True or False")
        _check(_is_text(self.rules), "rules", self.rules, f"text, at most {_LONGEST} characters")
        is_right = self.success_at is None or _is_number(self.success_at)
        _check(is_right, "success_at", self.success_at, "a finite number")
        self._check_splits()
        self._check_dictionaries()

    def _check_splits(self) -> None:
        _check(
            _is_mapping(self.splits) and bool(self.splits), "splits", self.splits, "a dictionary"
        )
        named: dict[str, str] = {}
        for split, tasks in self.splits.items():
            what = f"splits[{split!r}]"
            _check(_is_text(split), what, split, "named by text")
            if isinstance(tasks, int):
                is_right = _is_whole(tasks, 1) and tasks <= MOST_SEEDS
                _check(is_right, what, tasks, f"1 to {MOST_SEEDS} seeds")
            else:
                _check(_are_texts(tasks), what, tasks, "a number of seeds, or a list of names")
                for name in tasks:
                    other = named.setdefault(name, split)
                    if other != split or tasks.count(name) > 1:
                        also = f"in split {other!r} as well" if other != split else "there twice"
                        raise UserError(
                            f"SPEC: {what} has {name[:80]!r}, which is {also}: names must be "
                            "distinct, as what is scored is not trained on"
                        )
        scored: object = self.eval_splits
        _check(_are_texts(scored), "eval_splits", scored, "a list of splits")
        for split in () if self.tasks else (self.train_split, *self.eval_splits):
            field = "train_split" if split == self.train_split else "eval_splits"
            _check(split in self.splits, field, split, f"of splits: {', '.join(self.splits)}")

    def _check_dictionaries(self) -> None:
        for name in ("arguments", "settings", "presets", "standard_place", "option_rules"):
            value = getattr(self, name)
            _check(_is_mapping(value), name, value, "a dictionary")
        for name, texts in self.option_rules.items():
            is_right = _is_mapping(texts) and all(map(_is_text, (*texts, *texts.values())))
            what = f"option_rules[{name!r}]"
            _check(is_right, what, texts, 'a dictionary such as {"hard": "You may ..."}')
        for name, value in (self.options or {}).items():
            is_right = isinstance(cast(object, value), _OPTION_TYPES)
            _check(is_right, f"options[{name!r}]", value, "text, a number, True, False or None")
        for where, settings in (
            ("settings", self.settings),
            *((f"presets[{preset!r}]", settings) for preset, settings in self.presets.items()),
        ):
            _check(
                _is_mapping(settings),
                where,
                settings,
                'a dictionary such as {"train.iterations": 5}',
            )
            for name, value in settings.items():
                is_right = isinstance(value, _OPTION_TYPES) or _are_texts(value)
                _check(is_right, f"{where}[{name!r}]", value, "text, a number, or a list of texts")

    def own_options(self) -> dict[str, Option]:
        """List the environment's options with their defaults.

        Raises:
            UserError: An argument of ``env`` has no default, so that nobody could make it.
        """
        if self.options is not None:
            return dict(self.options)
        parameters = _parameters(self.callable_of("env"))
        for name, parameter in parameters.items():
            needed = parameter.default is parameter.empty and name not in _NO_OPTIONS
            if needed and name not in self.arguments:
                raise UserError(
                    f"argument '{name}' of {_name_of(self.env)} has no default: give it one, or "
                    "its value in arguments of the SPEC"
                )
        return {
            name: parameter.default
            for name, parameter in parameters.items()
            if name not in (*_NO_OPTIONS, *self.arguments)
            and isinstance(parameter.default, _OPTION_TYPES)
        }

    def changed(self, options: Mapping[str, Any]) -> str:
        """Name the options that have other values than their defaults; empty if none has."""
        own = self.own_options()
        changed = [f"env.{n}={v!r:.40}" for n, v in options.items() if n in own and v != own[n]]
        return f" with {', '.join(changed)}" if changed else ""

    def documented_options(self) -> dict[str, str]:
        """Read what the docstring of ``env`` says of each of its arguments (``Args:``)."""
        made_by = self.callable_of("env")
        texts = [inspect.getdoc(made_by), inspect.getdoc(getattr(made_by, "__init__", None))]
        found: dict[str, str] = {}
        for text in texts:
            _, _, section = (text or "").partition("Args:\n")
            section = re.split(r"\n\s*\n", section)[0]
            for name, meaning in re.findall(
                r"^ {2,}(\w+)(?: \([^)]*\))?: (.*(?:\n {6,}.*)*)", section, re.MULTILINE
            ):
                found.setdefault(name, " ".join(meaning.split()))
        return found

    def callable_of(self, name: str) -> Callable[..., Any]:
        """Import the class or function of a field, where it is given as ``module:name``."""
        value = getattr(self, name)
        return pkgutil.resolve_name(value) if isinstance(value, str) else value

    def made_with(self, options: Mapping[str, Any], *, max_turns: int) -> dict[str, Any]:
        """Give the keyword arguments of ``env``."""
        limit = {"max_turns": max_turns} if self.counts_turns else {}
        return {**self.arguments, **options, **limit}


def accepted(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the options that a function does not take."""
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return dict(options)
    parameters = _parameters(function)
    return {name: value for name, value in options.items() if name in parameters}


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = inspect.signature(function).parameters
    return {name: p for name, p in found.items() if p.kind not in kinds}


def _check(right: bool, name: str, value: object, requirement: str) -> None:
    if not right:
        raise UserError(f"SPEC: {name} must be {requirement}, got {value!r:.100}")


def _check_callable(name: str, value: object, *, required: bool) -> None:
    if isinstance(value, str) and not value and not required:
        return
    named = isinstance(value, str) and re.fullmatch(r"[\w.]+:[\w.]+", value) is not None
    _check(
        named or callable(value),
        *(name, value, "a class or function, or the module:name of one"),
    )


def _name_of(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "__name__", repr(value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST


def _are_texts(value: object) -> bool:
    if not isinstance(value, list | tuple):
        return False
    items = cast(Sequence[object], value)
    return bool(items) and all(map(_is_text, items))
