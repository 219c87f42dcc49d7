"""Rollouts: many episodes played side by side, one turn of each at a time."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from layerbench.agents.agent import Agent, EpisodeState, ParsedResponse, StreamingAgent
from layerbench.agents.backends.base import StateKeeper
from layerbench.agents.types import StopReason, Trajectory, Turn
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, Observation, StepResult, Task, TaskStart


@dataclass(frozen=True, slots=True)
class EpisodeRequest:
    """One episode to be played.

    Attributes:
        task: The task to play.
        seed: Seed for the sampling of responses, non-negative.
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
    keep_states: int = 0,
) -> list[Trajectory]:
    """Play an episode for each request, as many at once as the pool has slots.

    Every round, the agent responds in all live episodes at once, and the pool plays the actions.
    When an episode ends, the next request takes its slot. If an environment fails by itself, its
    episode ends as an error and the others go on; where a worker process is lost, the pool repeats
    the actions of its episodes, of which the agent notices nothing.

    With a streaming agent no episode waits for another's response: each round plays the actions
    that are complete, and the next responses of these episodes start beside those still sampled.

    Args:
        pool: Slots of environments; episodes that were live in it are dropped.
        agent: Chooses the actions; afterwards it keeps nothing of these episodes.
        requests: The episodes to play, in the order of the returned trajectories.
        temperature: Sampling temperature; 0 takes the likeliest token.
        on_progress: Called after each round in which episodes ended, with their number so far.
        keep_states: Keep the hidden states that leave so many blocks of the model, where the agent
            can and the context is a transcript; 0 keeps none.

    Raises:
        ContractError: The environment does not keep to the contract.
    """
    rounds = _Rounds(pool, agent, requests, temperature)
    if isinstance(agent, StateKeeper):
        agent.keep_states(keep_states)
    try:
        while rounds.unfinished:
            before = len(rounds.finished)
            rounds.fill()
            rounds.play()
            if on_progress is not None and len(rounds.finished) > before:
                on_progress(len(rounds.finished))
    finally:
        # After an error as well: caches must be dropped before the model's weights change.
        agent.release([episode.number for episode in rounds.live.values()])
    return [rounds.finished[number] for number in range(len(requests))]


@dataclass(slots=True)
class _Episode:
    """A live episode; ``observation`` is the latest one."""

    number: int
    request: EpisodeRequest
    start: TaskStart
    observation: Observation
    turns: list[Turn] = field(default_factory=list[Turn])

    def state(self) -> EpisodeState:
        return EpisodeState(
            episode=self.number,
            seed=self.request.seed,
            start=self.start.observation,
            turns=self.turns,
            observation=self.observation,
        )


class _Rounds:
    """The requests by progress: waiting, live in a slot, or finished."""

    def __init__(
        self, pool: EnvPool, agent: Agent, requests: Sequence[EpisodeRequest], temperature: float
    ) -> None:
        self._pool = pool
        self._agent = agent
        self._temperature = temperature
        self._context = agent.settings.context_mode
        self._waiting = deque(enumerate(requests))
        self._pending = set[int]()
        self.live: dict[int, _Episode] = {}
        self.finished: dict[int, Trajectory] = {}

    @property
    def unfinished(self) -> bool:
        return bool(self._waiting or self.live)

    def fill(self) -> None:
        """Start waiting requests in the free slots."""
        free = [slot for slot in range(self._pool.num_slots) if slot not in self.live]
        started = {slot: self._waiting.popleft() for slot in free[: len(self._waiting)]}
        if not started:
            return
        starts = self._pool.reset({slot: request.task for slot, (_, request) in started.items()})
        for slot, (number, request) in started.items():
            start = starts[slot]
            if isinstance(start, EpisodeFailure):
                self.finished[number] = Trajectory(
                    task_id=request.task.task_id,
                    task_type="",
                    seed=request.seed,
                    context=self._context,
                    turns=(),
                    stop=StopReason.ERROR,
                    success=False,
                    error=start.reason,
                    replayed=self._pool.was_replayed(slot),
                )
            else:
                self.live[slot] = _Episode(number, request, start, start.observation)
        self.live = dict(sorted(self.live.items()))

    def play(self) -> None:
        """Have the agent respond in live episodes, and play its actions."""
        if not self.live:
            return
        responses: dict[int, ParsedResponse] = {}
        for slot, parsed in self._respond().items():
            if parsed is None:
                self._finish(slot, StopReason.CONTEXT_FULL)
            else:
                responses[slot] = parsed
        # A response without an action is played as an empty one: environments treat it like any
        # action that is not possible, and the turn counts.
        results = self._pool.step({slot: parsed.action or "" for slot, parsed in responses.items()})
        for slot, parsed in responses.items():
            self._advance(slot, parsed, results[slot])

    def _respond(self) -> dict[int, ParsedResponse | None]:
        """Start the responses that are due, and give those that are complete, by slot."""
        slots = {e.number: slot for slot, e in self.live.items() if e.number not in self._pending}
        states = [self.live[slot].state() for slot in slots.values()]
        if not isinstance(self._agent, StreamingAgent):
            responses = self._agent.respond(states, temperature=self._temperature)
            return dict(zip(slots.values(), responses, strict=True))
        self._agent.begin(states, temperature=self._temperature)
        self._pending |= slots.keys()
        finished = self._agent.finished()
        self._pending -= finished.keys()
        slot_of = {episode.number: slot for slot, episode in self.live.items()}
        return {slot_of[number]: parsed for number, parsed in finished.items()}

    def _advance(
        self, slot: int, parsed: ParsedResponse, result: StepResult | EpisodeFailure
    ) -> None:
        episode = self.live[slot]
        failed = isinstance(result, EpisodeFailure)
        episode.turns.append(
            Turn(
                observation=episode.observation,
                response=parsed.response,
                action=parsed.action,
                valid=parsed.valid,
                reward=0.0 if failed else result.reward,
            )
        )
        if failed:
            self._finish(slot, StopReason.ERROR, error=result.reason)
        elif result.terminated or result.truncated:
            stop = StopReason.TERMINATED if result.terminated else StopReason.TURN_LIMIT
            self._finish(slot, stop, success=result.success, undecided=result.undecided)
        else:
            episode.observation = result.observation

    def _finish(
        self,
        slot: int,
        stop: StopReason,
        *,
        success: bool = False,
        undecided: bool = False,
        error: str = "",
    ) -> None:
        episode = self.live.pop(slot)
        states = None
        if isinstance(self._agent, StateKeeper):
            states = self._agent.states(episode.number)
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
            replayed=self._pool.was_replayed(slot),
            undecided=undecided,
            states_SH=states,
        )
