"""Playing many episodes side by side."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from layerbench.agents.agent import Agent, Decision, Moment, StreamingAgent
from layerbench.agents.types import ContextMode, StopReason, Trajectory, Turn
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task, TaskStart


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to be played.

    Attributes:
        task: What is played.
        seed: Of the sampling of responses, non-negative.
    """

    task: Task
    seed: int


def play_episodes(
    pool: EnvPool,
    agent: Agent,
    requests: Sequence[EpisodeRequest],
    *,
    temperature: float,
    on_progress: Callable[[int], None] | None = None,
) -> list[Trajectory]:
    """Play an episode for each request, as many at once as the pool has slots.

    Every round, the agent answers for all episodes under way at once, and the pool plays the
    actions. An episode that ends leaves the round, and the next request takes its slot. Where an
    environment breaks down, its episode ends as an error and the others go on.

    A streaming agent lets no episode wait for another's answer: each round plays those that are
    decided, and asks for these again while the others are still being answered.

    Args:
        pool: Where the episodes are played; what was under way in it is dropped.
        agent: Answers; afterwards it keeps nothing of these episodes.
        requests: In the order of the trajectories that come back.
        temperature: Of the sampling; 0 takes the likeliest token.
        on_progress: Called after each round in which episodes ended, with how many have so far.
    """
    rounds = _Rounds(pool, agent, requests, temperature)
    try:
        while rounds.unfinished:
            before = len(rounds.finished)
            rounds.fill()
            rounds.play()
            if on_progress is not None and len(rounds.finished) > before:
                on_progress(len(rounds.finished))
    finally:
        agent.release([episode.number for episode in rounds.live.values()])
    return [rounds.finished[number] for number in range(len(requests))]


@dataclass(slots=True)
class _Episode:
    """An episode under way; ``now`` is what its next action answers."""

    number: int
    request: EpisodeRequest
    start: TaskStart
    now: Observation
    turns: list[Turn] = field(default_factory=list[Turn])

    def moment(self) -> Moment:
        return Moment(
            episode=self.number,
            seed=self.request.seed,
            start=self.start.observation,
            turns=self.turns,
            now=self.now,
        )


class _Rounds:
    """Which request is where: waiting, live in a slot, or finished."""

    def __init__(
        self, pool: EnvPool, agent: Agent, requests: Sequence[EpisodeRequest], temperature: float
    ) -> None:
        self._pool = pool
        self._agent = agent
        self._temperature = temperature
        self._context = agent.settings.context_mode
        self._waiting = deque(enumerate(requests))
        self._asked = set[int]()
        self.live: dict[int, _Episode] = {}
        self.finished: dict[int, Trajectory] = {}

    @property
    def unfinished(self) -> bool:
        return bool(self._waiting or self.live)

    def fill(self) -> None:
        """Start waiting requests in the free slots."""
        free = [slot for slot in range(self._pool.num_slots) if slot not in self.live]
        seated = {slot: self._waiting.popleft() for slot in free[: len(self._waiting)]}
        if not seated:
            return
        starts = self._pool.reset({slot: request.task for slot, (_, request) in seated.items()})
        for slot, (number, request) in seated.items():
            start = starts[slot]
            if isinstance(start, EpisodeFailure):
                self.finished[number] = _unstarted(request, start, self._context)
            else:
                self.live[slot] = _Episode(number, request, start, start.observation)
        self.live = dict(sorted(self.live.items()))

    def play(self) -> None:
        """Have the agent answer for live episodes, and play its actions."""
        if not self.live:
            return
        decisions: dict[int, Decision] = {}
        for slot, decision in self._decide().items():
            if decision is None:
                self._finish(slot, StopReason.CONTEXT_FULL)
            else:
                decisions[slot] = decision
        # What could not be read as an action is sent as none: environments answer it as they
        # answer any action that is not possible, and the turn counts.
        results = self._pool.step(
            {slot: decision.action or "" for slot, decision in decisions.items()}
        )
        for slot, decision in decisions.items():
            self._advance(slot, decision, results[slot])

    def _decide(self) -> dict[int, Decision | None]:
        """Ask wherever an answer is due, and give by slot those that are there."""
        slots = {e.number: slot for slot, e in self.live.items() if e.number not in self._asked}
        moments = [self.live[slot].moment() for slot in slots.values()]
        if not isinstance(self._agent, StreamingAgent):
            answered = self._agent.respond(moments, temperature=self._temperature)
            return dict(zip(slots.values(), answered, strict=True))
        self._agent.begin(moments, temperature=self._temperature)
        self._asked |= slots.keys()
        finished = self._agent.finished()
        self._asked -= finished.keys()
        places = {episode.number: slot for slot, episode in self.live.items()}
        return {places[number]: decision for number, decision in finished.items()}

    def _advance(self, slot: int, decision: Decision, result: StepResult | EpisodeFailure) -> None:
        episode = self.live[slot]
        failed = isinstance(result, EpisodeFailure)
        episode.turns.append(
            Turn(
                observation=episode.now,
                response=decision.response,
                action=decision.action,
                valid=decision.valid,
                reward=0.0 if failed else result.reward,
            )
        )
        if failed:
            self._finish(slot, StopReason.ERROR, error=result.reason)
        elif result.terminated:
            self._finish(slot, StopReason.TERMINATED, success=result.success)
        elif result.truncated:
            self._finish(slot, StopReason.TURN_LIMIT, success=result.success)
        else:
            episode.now = result.observation

    def _finish(
        self, slot: int, stop: StopReason, *, success: bool = False, error: str = ""
    ) -> None:
        episode = self.live.pop(slot)
        self._agent.release([episode.number])
        self.finished[episode.number] = Trajectory(
            task_id=episode.request.task.task_id,
            task_type=episode.start.task_type,
            seed=episode.request.seed,
            context=self._context,
            turns=tuple(episode.turns),
            stop=stop,
            success=success,
            error=error,
        )


def _unstarted(
    request: EpisodeRequest, failure: EpisodeFailure, context: ContextMode
) -> Trajectory:
    return Trajectory(
        task_id=request.task.task_id,
        task_type="",
        seed=request.seed,
        context=context,
        turns=(),
        stop=StopReason.ERROR,
        success=False,
        error=failure.reason,
    )
