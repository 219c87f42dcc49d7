"""Scoring a model behind an endpoint: the base evaluation of a run, without weights."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings
from layerbench.agents.backends.endpoint import Chat, ChatEndpoint
from layerbench.agents.chat_agent import ChatAgent
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.config import compose as settings_config
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.records import episodes, provenance, run_record
from layerbench.benchmarks.runs.prepare import list_tasks
from layerbench.benchmarks.runs.endpoint_answers import KeptAnswers
from layerbench.benchmarks.records.run_folder import RunFolder, RunState
from layerbench.benchmarks.runs.player import BASE, Player, env_record, open_pool, remember
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.records.run_record import UNKNOWN, RunRecord
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.envs.registry import EnvIdentity
from layerbench.envs.types import Task


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """A model that is ready to be asked.

    Attributes:
        config: The settings.
        identity: What is played.
        tasks: The fixed lists to score, by split.
        endpoint: Where the model is.
    """

    config: RunConfig
    identity: EnvIdentity
    tasks: Mapping[str, tuple[Task, ...]]
    endpoint: ChatEndpoint


def prepare(config: RunConfig) -> EndpointPlan:
    """List the tasks and load the client; nobody is asked.

    Raises:
        ValueError: Data, tasks or the client are not there; the message says what to do.
    """
    endpoint = ChatEndpoint(
        base_url=config.model.base_url,
        model=config.model.name.removeprefix(endpoints.PREFIX),
        concurrency=config.model.concurrency,
    )
    identity, tasks, _ = list_tasks(config)
    return EndpointPlan(config, identity, tasks, endpoint)


def execute(prepared: EndpointPlan, folder: RunFolder, reporter: Reporter) -> RunRecord:
    """Score the model, from where the folder says it stands, and write the record.

    Raises:
        EndpointError: The endpoint does not answer; what it
            has answered is in the folder.
    """
    config = prepared.config
    state = remember(folder, reporter, weights_sha256=UNKNOWN)
    answers = KeptAnswers(folder.part(BASE, "answers", suffix="jsonl"), prepared.endpoint)
    if len(answers):
        reporter.say(f"going on after {len(answers)} answers")
    with open_pool(config, prepared.identity) as pool:
        player = Player(config, prepared.tasks, agent(config, answers), folder, reporter, pool)
        player.evaluate(BASE)
    record = _record(prepared, player, state, answers.usage())
    episodes.merge(folder.episodes, player.parts)
    folder.finish(record)
    return record


def agent(config: RunConfig, chat: Chat) -> ChatAgent:
    """Make the agent that asks the model."""
    asked = config.agent
    settings = AgentSettings(
        action_mode=ActionMode(asked.action_mode),
        context_mode=ContextMode(asked.context_mode),
        history=asked.history,
        max_prompt_tokens=asked.max_prompt_tokens,
        max_response_tokens=asked.max_response_tokens,
        max_context_tokens=asked.max_context_tokens,
        thinks=asked.thinking,
    )
    style = prompts.style(asked.style, settings.action_mode, thinks=asked.thinking)
    return ChatAgent(chat, style, settings)


def _record(
    prepared: EndpointPlan, player: Player, state: RunState, usage: run_record.EndpointRecord
) -> RunRecord:
    config = prepared.config
    code = provenance.code()
    return RunRecord(
        schema=run_record.SCHEMA,
        env=env_record(config, prepared.identity),
        model=run_record.ModelRecord(
            name=config.model.name,
            revision=config.model.revision,
            weights_sha256=UNKNOWN,
            dtype=UNKNOWN,
            parameters=None,
        ),
        selection=run_record.SelectionRecord(
            name="none",
            layers=(),
            num_layers=None,
            parameters=0,
            share=0.0,
            weights_sha256=UNKNOWN,
        ),
        algorithm=config.algorithm.name,
        preset=config.preset,
        seed=config.seed,
        settings=settings_config.as_dict(config),
        code=dataclasses.replace(code, dirty=code.dirty or code.revision != state.revision),
        evaluations=tuple(player.evaluations),
        differences={},
        training=run_record.TrainingRecord(0, 0, 0, 0, 0, {"play": 0.0, "update": 0.0}),
        movement=run_record.MovementRecord({}, {}),
        started=state.started,
        peak_memory_mb=player.memory_mb,
        hardware=provenance.hardware("endpoint"),
        endpoint=usage,
    )
