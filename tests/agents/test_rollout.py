import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent, StreamingAgent
from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.backends.scripted import ScriptedBackend
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.rollout import EpisodeRequest, play_episodes
from layerbench.agents.types import ActionMode, ContextMode, StopReason, Trajectory
from layerbench.envs import registry
from layerbench.envs.pool import EnvPool
from layerbench.envs.types import EpisodeFailure, StepResult, Task, TaskStart
from tests.support import tiny_models
from tests.support.tiny_models import END

TOKENIZER = tiny_models.tokenizer()
TASKS = registry.list_tasks(registry.find("keydoor"), split="train", count=8, seed=0, options={})
SETTINGS = AgentSettings(
    action_mode=ActionMode.CHOOSE,
    context_mode=ContextMode.TRANSCRIPT,
    history=2,
    max_prompt_tokens=1000,
    max_response_tokens=12,
    max_context_tokens=1000,
)


class BreakingPool(EnvPool):
    """Loses some episodes: at the reset of a task, or at a step of a slot."""

    def __init__(
        self,
        *,
        tasks: Sequence[str] = (),
        slots: Sequence[int] = (),
        **more: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(**more)
        self._tasks, self._slots = tasks, slots

    def reset(self, tasks: Mapping[int, Task]) -> dict[int, TaskStart | EpisodeFailure]:
        starts = super().reset(tasks)
        lost = {slot for slot, task in tasks.items() if task.task_id in self._tasks}
        return starts | {slot: EpisodeFailure("no such room") for slot in lost}

    def step(self, actions: Mapping[int, str]) -> dict[int, StepResult | EpisodeFailure]:
        results = super().step(actions)
        return results | {
            slot: EpisodeFailure("the floor gave way") for slot in actions if slot in self._slots
        }


def pool_settings(*, max_turns: int = 6, num_slots: int = 3) -> dict[str, Any]:
    return {
        "env": "keydoor",
        "options": {},
        "max_turns": max_turns,
        "num_slots": num_slots,
        "num_workers": 0,
    }


def requests(count: int) -> list[EpisodeRequest]:
    return [EpisodeRequest(TASKS[number % 8], number) for number in range(count)]


def scripted(script: Mapping[int, str], *, otherwise: str) -> ScriptedBackend:
    """Make a backend that gives the script's text in its turns, counted from 0, else another."""

    def respond(query: Query) -> list[int]:
        # The turn is counted by end tokens: one closes the system message and one the first
        # observation; each turn adds the response's and the next observation's.
        turn = (query.context_ids.count(END) - 2) // 2
        return [*TOKENIZER.encode(script.get(turn, otherwise)), END]

    return ScriptedBackend(respond)


def agent(backend: Any, settings: AgentSettings = SETTINGS) -> LLMAgent:  # noqa: ANN401
    return LLMAgent(backend, TOKENIZER, prompts.style("chat", settings.action_mode), settings)


def model_agent(settings: AgentSettings = SETTINGS) -> LLMAgent:
    return agent(TransformersBackend(tiny_models.model(), end_ids=[END]), settings)


def play(player: LLMAgent, count: int, **pool: Any) -> list[Trajectory]:  # noqa: ANN401
    with EnvPool(**pool_settings(**pool)) as env_pool:
        return play_episodes(env_pool, player, requests(count), temperature=1.0)


def test_key_then_door_wins() -> None:
    backend = scripted({0: "take key"}, otherwise="open door")
    (won,) = play(agent(backend), 1)
    assert [turn.action for turn in won.turns] == ["take key", "open door"]
    assert [turn.reward for turn in won.turns] == [0.0, 1.0]
    assert all(turn.valid for turn in won.turns)
    assert won.turns[0].observation.text.startswith("You see a ")
    assert won.turns[1].observation.text == "You hold the key."
    assert (won.stop, won.success) == (StopReason.TERMINATED, True)
    assert (won.task_id, won.task_type, won.seed) == (TASKS[0].task_id, "keys-1", 0)
    assert won.context is ContextMode.TRANSCRIPT


def test_turn_limit_ends_an_episode_without_success() -> None:
    (lost,) = play(agent(scripted({}, otherwise="look")), 1, max_turns=4)
    assert (lost.stop, lost.success, len(lost.turns)) == (StopReason.TURN_LIMIT, False, 4)


def test_trajectories_come_in_the_order_of_requests_and_slots_are_refilled() -> None:
    # Even rooms are won in two turns, the others never: so they leave their slots at odd times.
    def respond(query: Query) -> tuple[int, ...]:
        turn = (query.context_ids.count(END) - 2) // 2
        return query.choices[0 if query.episode % 2 else min(turn + 1, 2)]

    backend = ScriptedBackend(respond)
    progress: list[int] = []
    with EnvPool(**pool_settings(num_slots=3)) as pool:
        trajectories = play_episodes(
            pool, agent(backend), requests(8), temperature=1.0, on_progress=progress.append
        )
    assert [t.task_id for t in trajectories] == [task.task_id for task in TASKS]
    assert [t.seed for t in trajectories] == list(range(8))
    assert [t.success for t in trajectories] == [True, False] * 4
    assert progress == sorted(set(progress))
    assert progress[-1] == 8
    assert sorted(backend.released) == list(range(8))


def test_finished_episodes_leave_the_batch() -> None:
    batch_sizes: list[int] = []

    class CountingBackend(ScriptedBackend):
        def sample(self, queries: Sequence[Query]) -> list[Any]:
            batch_sizes.append(len(queries))
            return super().sample(queries)

    # The first episode is won in two turns, the second plays all six.
    backend = CountingBackend(
        lambda query: query.choices[0 if query.episode else 1 + (len(batch_sizes) > 1)]
    )
    play(agent(backend), 2, num_slots=4)
    assert batch_sizes == [2, 2, 1, 1, 1, 1]


def test_free_text_that_is_no_action_is_a_turn_in_which_nothing_happens() -> None:
    settings = dataclasses.replace(SETTINGS, action_mode=ActionMode.GENERATE)
    good = "<think> </think> <action> take key </action>"
    backend = scripted({0: good, 1: "open door"}, otherwise=good.replace("take key", "tin"))
    (lost,) = play(agent(backend, settings), 1, max_turns=3)
    assert [turn.action for turn in lost.turns] == ["take key", None, "tin"]
    assert [turn.valid for turn in lost.turns] == [True, False, False]
    assert lost.turns[2].observation.text == "Nothing happens."
    assert lost.stop is StopReason.TURN_LIMIT


def test_full_context_ends_an_episode() -> None:
    settings = dataclasses.replace(SETTINGS, max_context_tokens=150)
    (lost,) = play(agent(scripted({}, otherwise="look"), settings), 1, max_turns=50)
    assert (lost.stop, lost.success) == (StopReason.CONTEXT_FULL, False)
    assert 0 < len(lost.turns) < 50
    assert sum(len(t.response.prompt_ids) + len(t.response.token_ids) for t in lost.turns) <= 150


def test_environment_that_breaks_costs_only_its_own_episode() -> None:
    backend = scripted({0: "take key"}, otherwise="open door")
    with BreakingPool(tasks=[TASKS[1].task_id], slots=[2], **pool_settings()) as pool:
        trajectories = play_episodes(pool, agent(backend), requests(5), temperature=1.0)
    assert [t.stop for t in trajectories[:3]] == [
        StopReason.TERMINATED,
        StopReason.ERROR,
        StopReason.ERROR,
    ]
    assert (trajectories[1].error, trajectories[1].turns, trajectories[1].task_id) == (
        "no such room",
        (),
        TASKS[1].task_id,
    )
    # The turn in which the floor gave way is kept.
    assert (trajectories[2].error, len(trajectories[2].turns)) == ("the floor gave way", 1)
    assert trajectories[0].success
    assert not trajectories[2].success
    # Every episode but the one that never started was released.
    assert sorted(set(backend.released)) == [0, 2, 3, 4]


def test_interrupted_play_releases_live_episodes() -> None:
    def stop(query: Query) -> Sequence[int]:
        if query.episode == 1:
            raise KeyboardInterrupt
        return query.choices[0]

    backend = ScriptedBackend(stop)
    with pytest.raises(KeyboardInterrupt):
        play(agent(backend), 3)
    assert sorted(backend.released) == [0, 1, 2]


@pytest.mark.parametrize("context", list(ContextMode))
@pytest.mark.parametrize("action", list(ActionMode))
def test_logprobs_of_played_episodes_equal_full_forwards(
    context: ContextMode, action: ActionMode
) -> None:
    settings = dataclasses.replace(SETTINGS, context_mode=context, action_mode=action)
    model = tiny_models.model()
    player = agent(TransformersBackend(model, end_ids=[END]), settings)
    for trajectory in play(player, 3, max_turns=3, num_slots=2):
        read: list[int] = []
        for turn in trajectory.turns:
            response = turn.response
            if context is ContextMode.WINDOW:
                read = []
            read += response.prompt_ids
            scores = tiny_models.logits(model, [*read, *response.token_ids])[len(read) - 1 :]
            for depth, token in enumerate(response.token_ids):
                allowed = list(response.allowed_ids[depth]) if response.allowed_ids else None
                row = scores[depth] if allowed is None else scores[depth, allowed]
                index = token if allowed is None else allowed.index(token)
                expected = float(row.log_softmax(-1)[index])
                assert response.logprobs[depth] == pytest.approx(expected, abs=1e-5)
            read += response.token_ids


def test_same_requests_give_the_same_trajectories_bit_for_bit() -> None:
    player = model_agent()
    assert play(player, 5) == play(player, 5) == play(model_agent(), 5)


def test_trajectory_depends_on_its_own_request_not_on_the_batch() -> None:
    together = play(model_agent(), 4, num_slots=4)
    one_by_one = play(model_agent(), 4, num_slots=1)
    for left, right in zip(together, one_by_one, strict=True):
        assert [turn.action for turn in left.turns] == [turn.action for turn in right.turns]
        for a, b in zip(left.turns, right.turns, strict=True):
            assert a.response.logprobs == pytest.approx(b.response.logprobs, abs=1e-5)
    assert len({tuple(turn.action for turn in t.turns) for t in together}) > 1


class OneAtATime:
    """Streams one response at a time, to the latest query first."""

    def __init__(self, backend: TransformersBackend) -> None:
        self._backend = backend
        self._pending: list[Query] = []
        self.pending_counts: list[int] = []

    def sample(self, queries: Sequence[Query]) -> list[Sample]:
        return self._backend.sample(queries)

    def release(self, episodes: Iterable[int]) -> None:
        released = set(episodes)
        self._pending = [query for query in self._pending if query.episode not in released]
        self._backend.release(released)

    def submit(self, queries: Sequence[Query]) -> None:
        self._pending += queries

    def collect(self) -> dict[int, Sample]:
        self.pending_counts.append(len(self._pending))
        query = self._pending.pop()
        return {query.episode: self._backend.sample([query])[0]}


@pytest.mark.parametrize("max_context_tokens", [1000, 140])
def test_streamed_responses_make_the_same_episodes(max_context_tokens: int) -> None:
    settings = dataclasses.replace(SETTINGS, max_context_tokens=max_context_tokens)
    backend = OneAtATime(TransformersBackend(tiny_models.model(), end_ids=[END]))
    style = prompts.style("chat", settings.action_mode)
    trajectories = play(StreamingAgent(backend, TOKENIZER, style, settings), 7)
    rounds = play(model_agent(settings), 7)
    assert [[turn.action for turn in t.turns] for t in trajectories] == [
        [turn.action for turn in t.turns] for t in rounds
    ]
    assert [(t.task_id, t.stop, t.success) for t in trajectories] == [
        (t.task_id, t.stop, t.success) for t in rounds
    ]
    # The latest query is always served first, so those in the two other slots stay pending.
    assert backend.pending_counts[:3] == [3, 3, 3]
