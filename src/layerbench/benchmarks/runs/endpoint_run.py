"""The run of a model behind an endpoint: a base evaluation, without weights to train."""

from collections.abc import Mapping
from dataclasses import dataclass

from layerbench.agents import prompts
from layerbench.agents.backends.endpoint import Chat, ChatEndpoint
from layerbench.agents.chat_agent import ChatAgent
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.records.record_sections import ModelRecord, SelectionRecord
from layerbench.benchmarks.records.run_folder import RunFolder
from layerbench.benchmarks.records.run_record import BASE_PHASE, BASE_SELECTION, UNKNOWN, RunRecord
from layerbench.benchmarks.runs.console import Reporter
from layerbench.benchmarks.runs.endpoint_answers import KeptAnswers
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.benchmarks.runs.player import Evaluator, first_state
from layerbench.benchmarks.runs.prepare import agent_settings
from layerbench.benchmarks.runs.record import evaluation_record
from layerbench.benchmarks.runs.task_lists import list_tasks
from layerbench.envs import registry
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import Task


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """A run of a model behind an endpoint that is ready to start.

    Attributes:
        config: The settings.
        identity: The environment.
        tasks: Fixed lists of the tasks to score, and to validate on, by split.
        endpoint: Client of the endpoint.
    """

    config: RunConfig
    identity: EnvIdentity
    tasks: Mapping[str, tuple[Task, ...]]
    endpoint: ChatEndpoint


def prepare(config: RunConfig) -> EndpointPlan:
    """List the tasks and create the client; nothing is sent to the endpoint.

    Raises:
        UserError: Data, tasks or the client are missing; the message says what to do.
    """
    endpoint = ChatEndpoint(
        base_url=config.model.base_url,
        model=config.model.name.removeprefix(endpoints.PREFIX),
        concurrency=config.model.concurrency,
    )
    tasks = list_tasks(config)
    return EndpointPlan(config, tasks.identity, tasks.evaluated(config), endpoint)


def execute(prepared: EndpointPlan, folder: RunFolder, reporter: Reporter) -> RunRecord:
    """Score the model, continuing from the folder's state, and write the record.

    Raises:
        EndpointError: The endpoint does not answer; its answers so far are in the folder.
    """
    config = prepared.config
    state = first_state(
        config, folder, reporter, prepared.identity, model=None, weights_sha256=UNKNOWN
    )
    # Lies among the evaluations, which `finish` deletes; the usage stays in the record.
    answers = KeptAnswers(
        folder.evaluations.path / f"{BASE_PHASE}-answers.jsonl",
        prepared.endpoint,
        run=state.settings_sha256,
        say=reporter.say,
    )
    if len(answers):
        reporter.say(f"going on after {len(answers)} answers")
    with open_pool(config.env) as pool:
        evaluator = Evaluator(
            config, prepared.tasks, agent(config, answers), folder, state, reporter, pool
        )
        evaluator.evaluate(BASE_PHASE)
    finished = evaluation_record(
        config,
        prepared.identity,
        evaluator,
        state,
        model=ModelRecord(
            name=config.model.name,
            revision=config.model.revision,
            weights_sha256=UNKNOWN,
            dtype=UNKNOWN,
            parameters=None,
        ),
        selection=SelectionRecord(
            name=BASE_SELECTION,
            layers=(),
            num_layers=None,
            parameters=0,
            share=0.0,
            weights_sha256=UNKNOWN,
        ),
        hardware=provenance.hardware("endpoint"),
        endpoint=answers.usage(),
    )
    evaluator.write_episodes()
    folder.finish(finished)
    return finished


def agent(config: RunConfig, chat: Chat) -> ChatAgent:
    """Make the agent that sends its prompts to the endpoint."""
    settings = agent_settings(config.agent)
    rules = registry.find(config.env.reference).rules_with(config.env.options)
    style = prompts.style(
        config.agent.style,
        settings.action_mode,
        rules=rules,
        thinks=settings.thinks,
        answer_form=settings.answer_form,
        prompt_file=config.prompt.text,
    )
    return ChatAgent(chat, style, settings)
