"""What a run has to know of an environment, and what its record says of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerbench.envs.packages import EnvPackage
from layerbench.envs.spec import Option


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run has to know of an environment, as plain data: its code may not be imported here.

    Attributes:
        reference: What finds it again on this machine: a name, ``module:NAME`` or an absolute path,
            perhaps with ``:NAME``.
        name: The name in records and tables.
        gym_id: The Gymnasium id, versioned: scores of different versions never share a table.
        is_own: Whether all of its code is part of this package, or was given to this process.
        max_turns: As in ``EnvSpec``, like all that follow.
        rules: Rules for the system message, whatever the options.
        option_rules: Further ones, by the name and value of an option.
        train_split: Split of the tasks to train on.
        eval_splits: Splits of the tasks to score.
        options: Default values of its options.
        settings: Other default values of settings.
        presets: The same by preset.
        origin_options: Options that choose the source or say where its files lie.
        standard_place: Values of these that mean files in their usual place.
        success_at: As in ``EnvSpec``.
    """

    reference: str
    name: str
    gym_id: str
    is_own: bool
    max_turns: int
    rules: str
    train_split: str
    eval_splits: tuple[str, ...]
    options: Mapping[str, Option]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    origin_options: tuple[str, ...] = ()
    standard_place: Mapping[str, Any] = field(default_factory=dict[str, Any])
    success_at: float | None = None
    option_rules: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict[str, Mapping[str, str]]
    )

    def rules_with(self, options: Mapping[str, Any]) -> str:
        """Give the rules for the system message under the given options."""
        further = [texts.get(str(options.get(name))) for name, texts in self.option_rules.items()]
        return " ".join((self.rules, *filter(None, further)))

    @property
    def origin(self) -> str:
        """The reference where it says more than the name; else empty."""
        return "" if self.reference == self.name else self.reference


@dataclass(frozen=True, slots=True)
class EnvIdentity:
    """The environment of a run, as its record names it.

    Attributes:
        name: Name in the registry.
        gym_id: The versioned Gymnasium id.
        source: Source of the tasks, such as ``alfworld-`` and a hash for published games and
            ``alfworld-gen`` for generated ones; scores of different sources never share a table.
        version: The version in the id, such as ``v0``.
        by_split: Hash of the files of each split that is on this machine, where splits have files
            of their own; ``source`` ends in the hash of all.
        missing: Splits that were asked for and are not on this machine.
        notes: What a user should know of the tasks, one line each.
        package: The installed package that the environment comes with.
    """

    name: str
    gym_id: str
    source: str
    version: str
    by_split: Mapping[str, str] = field(default_factory=dict[str, str])
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    # Not compared: two versions of a package may have the same environment.
    package: EnvPackage = field(default_factory=EnvPackage, compare=False)
