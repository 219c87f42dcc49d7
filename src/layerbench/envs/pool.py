"""Many episodes at once, in worker processes or in this one."""

import logging
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, TypeVar, cast

from layerbench.envs import registry
from layerbench.envs.answer_time import MEASURED, AnswerLimit
from layerbench.envs.slots import EnvRecipe, Prepare, Reply, Request, Reset, Slots, Step
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart, WorkerLoss
from layerbench.envs.worker_process import WorkerProcess

Content = TypeVar("Content", Task, str)
Outcome = TaskStart | StepResult | EpisodeFailure

PREPARED_AT_ONCE = 8
"""Tasks a worker prepares per message, so that a long list does not look like a hung worker."""

MAX_LOSSES = 3
"""Times in a row that an episode, played by itself, loses its worker until it counts as lost."""

_MAX_LOGGED = 20
_LOGGER = logging.getLogger("layerbench.failure")


@dataclass(slots=True)
class _Episode:
    """An unfinished episode: all that is needed to play it again from its start.

    Attributes:
        task: Its task.
        actions: The actions played.
        outcomes: What the reset and each action led to.
        life: The life of the worker that has its environment.
    """

    task: Task
    actions: list[str] = field(default_factory=list[str])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    life: int = 0


class EnvPool:
    """A fixed number of slots, each of which plays one episode at a time.

    Slot s belongs to worker s modulo ``num_workers`` and keeps its environment from episode to
    episode. An exception in an environment costs its own episode, which is reported as an
    ``EpisodeFailure`` by the call in which it fails and by every later step, until the slot is
    reset.

    A worker that is killed, exits or does not answer in time costs nothing: it is started again,
    and the actions of each of its episodes are played again from the reset, so that the caller
    notices nothing. An environment must answer equal actions equally for that; an episode of one
    that does not fails. Episodes are played again one by one: the one that loses its worker
    ``MAX_LOSSES`` times in a row has failed by itself, and those beside it have not.

    Workers end with the pool, at the latest with the process that made it, however that ends.

    Args:
        env: What finds the environment: see ``registry.find``.
        options: Arguments of the environment's constructor.
        max_turns: Actions after which an episode is truncated.
        num_slots: Episodes played at once.
        num_workers: Worker processes; 0 plays in this process, with the same results. An
            environment that is not layerbench's own always has one, as it may hang or exit.
        timeout_s: Longest time for a worker to answer one call, all its slots together;
            ``MEASURED`` for one that follows from how long answers have taken.
        max_losses: Losses of a worker by one episode alone, after which the episode fails.
    """

    def __init__(  # noqa: PLR0913 - what is played, and by how many
        self,
        env: str,
        options: Mapping[str, Any],
        *,
        max_turns: int,
        num_slots: int,
        num_workers: int,
        timeout_s: float = MEASURED,
        max_losses: int = MAX_LOSSES,
    ) -> None:
        recipe = EnvRecipe(env, dict(options), max_turns)
        num_workers = min(num_workers if registry.is_own(env) else max(num_workers, 1), num_slots)
        self._num_slots = num_slots
        self._limit = AnswerLimit(timeout_s)
        self._max_losses = max_losses
        self._episodes: dict[int, _Episode] = {}
        self._replayed: set[int] = set()
        self._num_logged = 0
        self._local = Slots(recipe)
        self._workers = [
            WorkerProcess(index, recipe, timeout_s=self._limit.seconds)
            for index in range(num_workers)
        ]
        for worker in self._workers:
            worker.start()
        # Runs at close, when the pool is collected, or at the interpreter's exit.
        self._finalizer = weakref.finalize(self, _close_all, self._local, self._workers)

    @property
    def num_slots(self) -> int:
        """Episodes played at once."""
        return self._num_slots

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the running workers, in order."""
        return tuple(worker.pid for worker in self._workers if worker.alive)

    def reset(self, tasks: Mapping[int, Task]) -> dict[int, TaskStart | EpisodeFailure]:
        """Start an episode in each of the given slots; unfinished ones there are dropped.

        Raises:
            ContractError: The environment does not keep to the contract.
            WorkerStartError: A worker breaks down whenever it starts.
        """
        self._replayed -= tasks.keys()
        self._episodes |= {slot: _Episode(task) for slot, task in tasks.items()}
        return cast("dict[int, TaskStart | EpisodeFailure]", self._play(tasks, Reset))

    def step(self, actions: Mapping[int, str]) -> dict[int, StepResult | EpisodeFailure]:
        """Play one action in each of the given slots.

        Raises:
            ContractError: The environment does not keep to the contract.
            WorkerStartError: A worker breaks down whenever it starts.
        """
        return cast("dict[int, StepResult | EpisodeFailure]", self._play(actions, Step))

    def was_replayed(self, slot: int) -> bool:
        """Tell whether the slot's latest episode was played again because of its worker."""
        return slot in self._replayed

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Let the workers load what the tasks need, in parallel, before any is played.

        This changes only how long later resets take. A task that cannot be prepared fails again
        at its reset, which reports it.

        Raises:
            WorkerStartError: A worker breaks down whenever it starts.
        """
        if not self._workers:
            self._local.handle(Prepare(tasks))
            return
        num_workers = len(self._workers)
        for first in range(0, len(tasks), PREPARED_AT_ONCE * num_workers):
            batch = tasks[first : first + PREPARED_AT_ONCE * num_workers]
            shares = {
                index: batch[index::num_workers] for index in range(min(num_workers, len(batch)))
            }
            for index in shares:
                self._workers[index].revive()
            self._exchange({index: Prepare(share) for index, share in shares.items()})

    def close(self) -> None:
        """End the workers; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> "EnvPool":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _play(
        self, contents: Mapping[int, Content], request: Callable[[dict[int, Content]], Request]
    ) -> dict[int, Outcome]:
        """Play each slot's content, by the slot's worker; return the outcomes in slot order."""
        assert self._finalizer.alive, "the pool is closed"
        assert all(0 <= slot < self._num_slots for slot in contents), "no such slot"
        live = {slot: contents[slot] for slot in sorted(contents) if slot in self._episodes}
        if not self._workers:
            outcomes = cast("dict[int, Outcome]", self._local.handle(request(live)))
        else:
            outcomes, losses = self._play_together(live, request)
            for slot in sorted(live.keys() - outcomes.keys()):
                before = [losses[slot]] if slot in losses else []
                outcomes[slot] = self._play_alone(slot, request({slot: live[slot]}), before)
        for slot, content in live.items():
            self._note(slot, content, outcomes[slot])
        over = EpisodeFailure("no episode is under way: reset before the next step")
        return {slot: outcomes.get(slot, over) for slot in sorted(contents)}

    def _play_together(
        self, contents: Mapping[int, Content], request: Callable[[dict[int, Content]], Request]
    ) -> tuple[dict[int, Outcome], dict[int, WorkerLoss]]:
        """Play the slots whose environments are there; those of a lost worker are left out.

        Returns:
            The outcomes, and the losses of workers that played one slot alone.
        """
        for index in {slot % len(self._workers) for slot in contents}:
            self._workers[index].revive()
        shares: dict[int, dict[int, Content]] = {}
        for slot, content in contents.items():
            worker, episode = self._worker(slot), self._episodes[slot]
            if not episode.outcomes or episode.life == worker.life:
                shares.setdefault(worker.index, {})[slot] = content
                # Until its outcome is here: an interrupt would leave it a step ahead.
                episode.life = 0
        replies = self._exchange({index: request(share) for index, share in shares.items()})
        outcomes: dict[int, Outcome] = {}
        losses: dict[int, WorkerLoss] = {}
        for index, reply in replies.items():
            if isinstance(reply, WorkerLoss):
                if len(shares[index]) == 1:
                    losses |= dict.fromkeys(shares[index], reply)
                self._log(f"{reply.reason}: its episodes are played again")
                continue
            outcomes |= reply
            for slot in reply:
                self._episodes[slot].life = self._workers[index].life
        return outcomes, losses

    def _play_alone(self, slot: int, request: Request, before: Sequence[WorkerLoss]) -> Outcome:
        """Play a slot's episode again from its start, then the request.

        Nothing else is played meanwhile in its worker: if that is lost, it is by this episode, or
        by chance.
        """
        self._replayed.add(slot)
        losses = list(before)
        while len(losses) < self._max_losses:
            outcome = self._replay(slot, request)
            if not isinstance(outcome, WorkerLoss):
                return outcome
            self._log(f"{outcome.reason}, at task {self._episodes[slot].task.task_id!r} by itself")
            losses.append(outcome)
        each = ", each of the times it was played" if len(losses) > 1 else ""
        return EpisodeFailure(f"{losses[-1].reason}{each}")

    def _replay(self, slot: int, request: Request) -> Outcome | WorkerLoss:
        episode, worker = self._episodes[slot], self._worker(slot)
        worker.revive()
        requests: list[Request] = [request]
        if episode.outcomes:
            steps = [Step({slot: action}) for action in episode.actions]
            requests = [Reset({slot: episode.task}), *steps, request]
        outcome: Outcome | WorkerLoss = WorkerLoss("nothing was played")
        for number, played in enumerate(requests):
            reply = self._exchange({worker.index: played})[worker.index]
            if isinstance(reply, WorkerLoss):
                return reply
            outcome = reply[slot]
            if number < len(episode.outcomes) and outcome != episode.outcomes[number]:
                return EpisodeFailure(
                    f"its worker was lost, and played again it differs after {number} actions"
                )
        episode.life = worker.life
        return outcome

    def _note(self, slot: int, content: Task | str, outcome: Outcome) -> None:
        """Keep what a replay needs; nothing of an episode that is over."""
        if isinstance(outcome, EpisodeFailure):
            if outcome.trace:
                self._log(outcome.trace)
            self._episodes.pop(slot, None)
            return
        if isinstance(outcome, StepResult) and (outcome.terminated or outcome.truncated):
            self._episodes.pop(slot, None)
            return
        episode = self._episodes[slot]
        episode.outcomes.append(outcome)
        if isinstance(content, str):
            episode.actions.append(content)

    def _log(self, text: str) -> None:
        """Log a failure, of which a run's ``error.log`` keeps the first ones."""
        self._num_logged += 1
        if self._num_logged <= _MAX_LOGGED:
            _LOGGER.info(text)

    def _worker(self, slot: int) -> WorkerProcess:
        return self._workers[slot % len(self._workers)]

    def _exchange(self, requests: Mapping[int, Request]) -> dict[int, Reply | WorkerLoss]:
        """Send to every worker before waiting for any; returns the reply or the loss of each.

        None is started here: a fresh one would not have the environments that a request is for.
        """
        replies: dict[int, Reply | WorkerLoss] = {}
        waiting: dict[Connection, WorkerProcess] = {}
        started, limit_s = time.monotonic(), self._limit.seconds
        try:
            for index, request in requests.items():
                worker = self._workers[index]
                # Before sending: an interrupt in between must not leave a reply for a later call.
                waiting[worker.connection] = worker
                if loss := worker.send(request):
                    del waiting[worker.connection]
                    replies[index] = loss
            deadline = time.monotonic() + limit_s
            while waiting and (ready := _wait(waiting, deadline)):
                for connection in ready:
                    worker = waiting[connection]
                    has_answered = worker.has_answered
                    replies[worker.index] = worker.receive()
                    del waiting[connection]
                    # Not the first: it may take what is loaded once.
                    if has_answered:
                        self._limit.note(time.monotonic() - started)
        finally:
            # These are overdue, or this process was interrupted (Ctrl-C). Their late replies would
            # be taken for replies to a later request, so the workers have to go.
            for worker in waiting.values():
                replies[worker.index] = worker.overdue(limit_s)
        return replies


def _close_all(local: Slots, workers: Iterable[WorkerProcess]) -> None:
    local.close()
    # All are asked before any is awaited, so that they close their environments side by side.
    for worker in workers:
        worker.request_exit()
    for worker in workers:
        worker.wait()
        worker.kill()


def _wait(waiting: Mapping[Connection, WorkerProcess], deadline: float) -> list[Connection]:
    ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
    return cast("list[Connection]", ready)
