"""All checks of an environment, one after another."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from layerbench.envs import registry
from layerbench.envs.checks import episodes, inspection, lists, repetition
from layerbench.envs.checks.episodes import counted
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.checks.inspection import Inspection
from layerbench.envs.checks.listed_actions import check_listed, check_texts, try_actions
from layerbench.envs.checks.starts import check_starts
from layerbench.envs.contract import ContractError, Place
from layerbench.envs.descriptions import Environment
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Task
from layerbench.errors import UserError

_REPEATED = 4
_TRIED = 2
_STARTS = 8
_EPISODES = 16
_RESET = 32
_RESET_S = 15.0
_LONGEST = 50
_GIB = 2**30
_MOST_SLOTS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What is checked.

    Attributes:
        env: The environment.
        options: Its options.
        counts: Number of tasks to list by split; None for all.
        or_fewer: A split may have fewer tasks.
        max_turns: Actions after which an episode is truncated.
        timeout_s: Longest time for an answer of the environment.
        play: Episodes in which a random player has to succeed once; 0 asks for none.
        chooses: The agent chooses among listed actions, so that there must be some.
    """

    env: Environment
    options: Mapping[str, Any]
    counts: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    or_fewer: bool = False
    max_turns: int = 30
    timeout_s: float = registry.TIMEOUT_S
    play: int = 0
    chooses: bool = False


def _say_nothing(_doing: str) -> None:
    return None


def check(plan: Plan, *, begin: Callable[[str], None] = _say_nothing) -> Iterator[Finding]:
    """Run all checks; what cannot go on after a failure ends there.

    Args:
        plan: What is checked.
        begin: Receives what is done next, in a few words.

    Yields:
        What each check found.
    """
    suite = _Suite(plan, begin)
    for name, part in suite.parts():
        begin(name)
        try:
            yield from part()
        except UserError as error:
            yield Finding(suite.doing or name, Verdict.FAILS, str(error))
            return
        if suite.is_over:
            return


class _Suite:
    """The checks, which share the tasks and the worker processes."""

    def __init__(self, plan: Plan, begin: Callable[[str], None]) -> None:
        self._plan = plan
        self._begin = begin
        self._lists: dict[str, tuple[Task, ...]] = {}
        self.is_over = False
        self.doing = ""

    def parts(self) -> list[tuple[str, Callable[[], Iterator[Finding]]]]:
        """List the checks, in order, with the names of what fails by an error."""
        return [
            ("Gymnasium's API", self._interface),
            ("tasks", self._tasks),
            ("types", self._play),
            ("objects", self._objects),
        ]

    def _interface(self) -> Iterator[Finding]:
        plan = self._plan
        registry.check_options(plan.env, plan.options, timeout_s=plan.timeout_s)
        yield Finding(
            "Gymnasium's API",
            Verdict.HOLDS,
            f"{plan.env.gym_id}: a gymnasium.Env, made with its default options"
            if plan.options == plan.env.options
            else f"{plan.env.gym_id}: a gymnasium.Env, made with the options given",
        )

    def _tasks(self) -> Iterator[Finding]:
        plan = self._plan
        for split, count in plan.counts.items():
            try:
                tasks = self._list(split, count)
            except ContractError:
                raise
            except UserError:
                if not plan.or_fewer:
                    raise
                tasks = self._list(split, None)
                yield Finding(
                    f"number of {split}",
                    Verdict.REMARK,
                    f"{len(tasks)} tasks, and {count} were asked for: runs need train.tasks or "
                    f"eval.tasks of at most {len(tasks)}, which settings of the SPEC can say",
                )
            self._lists[split] = tasks
            yield lists.check_order(
                plan.env, tasks, split=split, options=plan.options, timeout_s=plan.timeout_s
            )
        if len(self._lists) > 1:
            lists.check_disjoint(self._lists, env=plan.env.name)
            yield Finding("splits", Verdict.HOLDS, f"{_and(self._lists)} share no task")

    def _list(self, split: str, count: int | None) -> tuple[Task, ...]:
        return registry.list_tasks(
            self._plan.env,
            split=split,
            count=count,
            seed=0,
            options=self._plan.options,
            timeout_s=self._plan.timeout_s,
        )

    def _play(self) -> Iterator[Finding]:
        plan, tasks = self._plan, self._mixed(max(_RESET, self._plan.play))
        with EnvPool(
            plan.env.reference,
            plan.options,
            max_turns=plan.max_turns,
            num_slots=repetition.SLOTS,
            num_workers=0 if plan.env.is_own else 2,
            timeout_s=plan.timeout_s,
            max_losses=1,
        ) as pool:
            yield from self._repeat(pool, tasks)
            if self.is_over:
                return
            self._begin("different tasks")
            longest = max(self._lists.values(), key=len)
            yield check_starts(
                pool,
                plan.env,
                longest[:_STARTS],
                dict(plan.options),
                max_turns=plan.max_turns,
                timeout_s=plan.timeout_s,
            )
            self._begin("listed actions")
            yield from try_actions(pool, tasks[:_TRIED], env=plan.env.name)
            self._begin("starts of further tasks")
            yield episodes.check_resets(pool, tasks[:_RESET], seconds=_RESET_S)
            self._begin("episodes of a random player")
            played = episodes.play(pool, tasks, count=max(plan.play, _EPISODES))
            yield episodes.check_ends(played, max_turns=plan.max_turns)
            yield episodes.check_rewards(played, success_at=plan.env.success_at)
            if plan.play:
                yield episodes.check_reachable(played[: plan.play])

    def _repeat(self, pool: EnvPool, tasks: Sequence[Task]) -> Iterator[Finding]:
        plan = self._plan
        turns = min(plan.max_turns, _LONGEST)
        num_turns = 0
        lengths: list[int] = []
        chosen = tasks[:_REPEATED]
        for number, task in enumerate(chosen):
            other = tasks[(number + 1) % len(tasks)]
            try:
                outcomes = repetition.check_task(
                    pool,
                    task,
                    other,
                    env=plan.env.name,
                    turns=turns,
                    # What is turned round each time is as before after two.
                    turns_beside=1 + number % 2,
                )
            except repetition.UnequalError as error:
                yield Finding("equal episodes", Verdict.FAILS, str(error))
                self.is_over = True
                return
            if isinstance(outcomes, EpisodeFailure):
                reason = f"{plan.env.name}, task {task.task_id!r}: {outcomes.reason}"
                yield Finding("episodes", Verdict.FAILS, reason)
                self.is_over = True
                return
            num_turns += len(outcomes) - 1
            lengths += [len(outcome.observation.text) for outcome in outcomes]
            self.doing = "listed actions"
            place = Place(plan.env.name, task.task_id)
            check_texts(repetition.observations(outcomes), place=place)
            if plan.chooses:
                check_listed(outcomes[0].observation, place=place)
            self.doing = ""
        yield Finding(
            "types",
            Verdict.HOLDS,
            f"{counted(len(chosen), 'episode')}, {counted(num_turns, 'turn')}; observations of "
            f"{min(lengths)} to {max(lengths)} characters",
        )
        where = "in one process" if plan.env.is_own else "in two processes"
        yield Finding(
            "equal episodes",
            Verdict.HOLDS,
            f"{where}, beside another episode and after an unfinished one",
        )

    def _objects(self) -> Iterator[Finding]:
        plan = self._plan
        found = inspection.inspect_object(
            plan.env,
            self._mixed(1)[0],
            plan.options,
            max_turns=plan.max_turns,
            timeout_s=plan.timeout_s,
        )
        for name, fault in found.faults.items():
            yield Finding(name, Verdict.FAILS, f"{plan.env.name}: {fault}")
        for name, remark in found.remarks.items():
            yield Finding(name, Verdict.REMARK, remark)
        if found.spaces:
            yield Finding("spaces", Verdict.NOT_APPLICABLE, found.spaces)
        if "close" not in found.faults:
            yield Finding("close", Verdict.HOLDS, "raises nothing")
        yield _after_end(found)
        if found.printed:
            detail = (
                f"{found.printed}: a run shows the first line alone, and all of what goes to stderr"
            )
            yield Finding("prints", Verdict.REMARK, detail)
        yield _times(found)
        yield _memory(found)

    def _mixed(self, count: int) -> list[Task]:
        """Take the first task of each split, then the second ones, and so on."""
        longest = max(map(len, self._lists.values()))
        rows = [[t[n] for t in self._lists.values() if n < len(t)] for n in range(longest)]
        return [task for row in rows for task in row][:count]


def _after_end(found: Inspection) -> Finding:
    name = "after the end"
    if not found.after_end:
        return Finding(
            name,
            Verdict.NOT_APPLICABLE,
            "none of the episodes tried ended by itself; layerbench ends them",
        )
    if found.after_end.startswith("refused"):
        return Finding(name, Verdict.HOLDS, f"a step is {found.after_end}")
    return Finding(
        name,
        Verdict.NOT_APPLICABLE,
        f"a step is {found.after_end}: layerbench never takes one, but other programs may",
    )


def _times(found: Inspection) -> Finding:
    detail = (
        f"first object {_seconds(found.make_s)}, a further one {_seconds(found.again_s)}, reset "
        f"{_seconds(found.reset_s)}, step {_seconds(found.step_s)}"
    )
    return Finding("time", Verdict.HOLDS, detail)


def _memory(found: Inspection) -> Finding:
    # What is too little to be measured is not nothing.
    each = max(found.object_bytes, 100_000)
    free = psutil.virtual_memory().available
    detail = (
        f"a process {_mib(found.process_bytes)}, each further object {_mib(each)}: "
        f"{_slots(24 * _GIB, found.process_bytes, each)} slots in 24 GiB, "
        f"{_slots(free, found.process_bytes, each)} in what is free here (env.slots)"
    )
    return Finding("memory", Verdict.HOLDS, detail)


def _slots(room: int, process: int, each: int) -> str:
    number = max((room - process) // each, 0)
    return str(number) if number <= _MOST_SLOTS else f"over {_MOST_SLOTS:,}"


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value >= 1 else f"{value * 1000:.2g} ms"


def _mib(value: int) -> str:
    return f"{value / 2**20:.3g} MiB"


def _and(names: Iterator[str] | Mapping[str, object]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}"
