"""``layerbench eval --dry-run``: requests, tokens and first prompt of an endpoint's evaluation."""

from collections import Counter
from collections.abc import Mapping, Sequence

from layerbench.agents.agent import EpisodeState
from layerbench.agents.backends.endpoint import ChatAnswer, ChatQuery, EndpointError
from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard.cells import plain
from layerbench.benchmarks.runs import endpoint_run, task_lists
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import EpisodeFailure, Task

# Tasks of a split whose first prompt is measured; the first prompts of an environment are alike.
_SAMPLED = 16
# A rule of thumb for English text; an endpoint does not say which tokenizer it has.
_CHARS_PER_TOKEN = 4


class UnreachableEndpoint:
    """An endpoint for agents that only word their queries: it answers none."""

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        raise EndpointError("nobody is asked in a dry run")


def describe(config: RunConfig) -> list[str]:
    """Count episodes and requests, estimate tokens, and show the first prompt.

    Raises:
        UserError: Data or tasks are not there; the message says what to do.
    """
    lists = task_lists.list_tasks(config)
    sampled = [task for listed in lists.scored.values() for task in listed[:_SAMPLED]]
    queries = _first_queries(config, sampled)
    tasks = lists.evaluated(config)
    return [*_counts(config, lists.identity, tasks, queries), "", *_prompt(queries[0])]


def _first_queries(config: RunConfig, tasks: Sequence[Task]) -> list[ChatQuery]:
    agent = endpoint_run.agent(config, UnreachableEndpoint())
    queries: list[ChatQuery] = []
    with open_pool(config.env, one_by_one=True) as pool:
        for task in tasks:
            start = pool.reset({0: task})[0]
            if isinstance(start, EpisodeFailure):
                raise SettingsError(f"task {task.task_id} cannot be started: {start.reason}")
            first = start.observation
            state = EpisodeState(episode=0, seed=0, start=first, turns=(), observation=first)
            queries.append(agent.query(state, config.eval.temperatures[0]))
    return queries


def _counts(
    config: RunConfig,
    identity: EnvIdentity,
    tasks: Mapping[str, Sequence[Task]],
    queries: Sequence[ChatQuery],
) -> list[str]:
    turns = config.env.max_turns
    by_split = Counter[str]()
    for planned in evaluations.planned(config, all_temperatures=True):
        by_split[planned.split] += len(tasks[planned.split]) * planned.episodes_per_task
    requests = sum(by_split.values()) * turns
    characters = sum(len(query.system) + len(query.message) for query in queries)
    prompt = round(characters / len(queries) / _CHARS_PER_TOKEN)
    answer = config.agent.max_response_tokens
    splits = ", ".join(f"{split} {episodes}" for split, episodes in by_split.items())
    played = f"{identity.gym_id}, {identity.source}"
    return [
        f"{config.model.name} at {config.model.base_url}: nobody was asked",
        f"episodes     {sum(by_split.values()):,} of {played}: {splits}",
        f"requests     at most {requests:,}: {turns} turns an episode; "
        f"{config.model.concurrency} at once",
        *identity.notes,
        f"prompts      about {prompt:,} tokens, {requests * prompt:,} in all requests, by "
        f"characters / {_CHARS_PER_TOKEN} of the first prompts of {len(queries)} tasks; later ones "
        f"are longer: they tell up to {config.agent.history} turns more",
        f"completions  at most {answer:,} tokens, {requests * answer:,} in all requests",
    ]


def _prompt(query: ChatQuery) -> list[str]:
    messages = [("system", query.system), ("user", query.message)]
    lines = [
        line for role, text in messages if text for line in (f"[{role}]", *text.splitlines(), "")
    ]
    # Observations come from the environment's data: control characters must not reach a terminal.
    return [plain(line) for line in lines[:-1]]
