"""The fixed lists of the tasks of a run: to score, to validate on and to train on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerbench.agents.types import ActionMode
from layerbench.benchmarks.config import evaluations, validate
from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.schema import EnvConfig, RunConfig
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.records.run_record import BASE_SELECTION
from layerbench.benchmarks.runs import panel_tasks
from layerbench.envs import registry
from layerbench.envs.checks.brief import check_play
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import Task


@dataclass(frozen=True, slots=True)
class TaskLists:
    """The tasks of a run, and the environment that they are of.

    Attributes:
        identity: The environment.
        scored: The tasks to score, by split.
        validation: Those of the training split that choose a temperature; empty where none do.
        train: Those to train on, without the validation tasks where the split has enough others;
            empty where nothing is trained.
    """

    identity: EnvIdentity
    scored: Mapping[str, tuple[Task, ...]]
    validation: tuple[Task, ...]
    train: tuple[Task, ...]

    def evaluated(self, config: RunConfig) -> dict[str, tuple[Task, ...]]:
        """List by split what evaluations play: the tasks to score, and to validate on."""
        validation = {config.env.train_split: self.validation} if self.validation else {}
        return {**self.scored, **validation}


def list_tasks(config: RunConfig) -> TaskLists:
    """Describe the environment, and list its tasks.

    Raises:
        UserError: The environment refuses its options, or has no such split, too few tasks, or no
            data, or does not keep to the contract.
    """
    env = config.env
    found = registry.find(env.reference)
    registry.check_options(found, env.options, timeout_s=env.patience_s)
    # By `eval.seed`, not the training seed: all seeds are scored on the same tasks.
    scored = {
        split: _tasks(
            env,
            split=split,
            count=config.eval.tasks,
            seed=config.eval.seed,
            settings=f"env.eval_splits={split} and eval.tasks={config.eval.tasks}",
        )
        for split in env.eval_splits
    }
    validate.check_episodes(config, tasks=sum(map(len, scored.values())))
    validation, train = _validation(config), _train(config)
    _check_apart(scored, validation, train)
    played = scored | ({env.train_split: train or validation} if train or validation else {})
    check_play(
        found,
        env.options,
        played,
        max_turns=env.max_turns,
        timeout_s=env.patience_s,
        chooses=config.agent.action_mode is ActionMode.CHOOSE,
    )
    identity = identify(env)
    if config.eval.panel:
        panel_tasks.check(config, identity, next(iter(scored.values())))
    return TaskLists(identity, scored, validation, _without(validation, train, config))


def _validation(config: RunConfig) -> tuple[Task, ...]:
    """List the validation tasks, by ``eval.seed``; all of a split that has fewer."""
    if not evaluations.validates(config):
        return ()
    asked = f"eval.valid_tasks={config.eval.valid_tasks}"
    settings = f"env.train_split={config.env.train_split} and {asked}"
    for count in (config.eval.valid_tasks, 0):
        try:
            return _of_train_split(config, count, seed=config.eval.seed, settings=settings)
        except SettingsError as error:
            # Too few, or none at all: then listing them all says why.
            if count:
                continue
            if config.layers == BASE_SELECTION:
                hint = "eval.valid_tasks=0 scores without choosing a temperature"
                raise SettingsError(f"{error}; {hint}") from error
            raise
    return ()


def _check_apart(
    scored: Mapping[str, Sequence[Task]], validation: Sequence[Task], train: Sequence[Task]
) -> None:
    """Refuse to score tasks that are trained on, or that choose the temperature.

    Raises:
        SettingsError: A split that is scored has some of them.
    """
    for split, tasks in scored.items():
        ids = {task.task_id for task in tasks}
        for used, what, hint in (
            (train, "are trained on", "score what the run never sees"),
            (validation, "choose the temperature", "or set eval.valid_tasks=0"),
        ):
            if shared := len(ids.intersection(task.task_id for task in used)):
                raise SettingsError(
                    f"env.eval_splits has {split}, of whose {len(ids):,} tasks {shared:,} {what}: "
                    f"name another split, {hint}"
                )


def _train(config: RunConfig) -> tuple[Task, ...]:
    # `parts` were trained by other runs: a combined model is only scored.
    if config.layers == BASE_SELECTION or config.parts:
        return ()
    settings = f"env.train_split={config.env.train_split} and train.tasks={config.train.tasks}"
    return _of_train_split(config, config.train.tasks, seed=config.seed, settings=settings)


def _without(
    validation: tuple[Task, ...], train: tuple[Task, ...], config: RunConfig
) -> tuple[Task, ...]:
    """Leave the validation tasks out of those to train on, where there are enough others."""
    kept = {task.task_id for task in validation}
    if not any(task.task_id in kept for task in train):
        return train
    wanted = len(train)
    try:
        more = _of_train_split(config, wanted + len(validation), seed=config.seed, settings="")
    except SettingsError:
        return train
    return tuple(task for task in more if task.task_id not in kept)[:wanted]


def _of_train_split(config: RunConfig, count: int, *, seed: int, settings: str) -> tuple[Task, ...]:
    return _tasks(
        config.env, split=config.env.train_split, count=count, seed=seed, settings=settings
    )


def _tasks(env: EnvConfig, *, split: str, count: int, seed: int, settings: str) -> tuple[Task, ...]:
    """List tasks of a split, all of them for a count of 0; errors name the ``settings``."""
    try:
        return registry.list_tasks(
            registry.find(env.reference),
            split=split,
            count=count or None,
            seed=seed,
            options=env.options,
            timeout_s=env.patience_s,
        )
    except UserError as error:
        raise SettingsError(f"{error} (asked for by {settings})") from error
