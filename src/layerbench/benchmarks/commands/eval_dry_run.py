"""What scoring a model behind an endpoint would ask of it, found out without asking."""

from collections.abc import Mapping, Sequence

from layerbench.agents.agent import EpisodeState
from layerbench.agents.backends.endpoint import ChatAnswer, ChatQuery, EndpointError
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard.cells import plain
from layerbench.benchmarks.runs import endpoint_run, prepare
from layerbench.envs.pool import EnvPool
from layerbench.envs.registry import EnvIdentity
from layerbench.envs.types import EpisodeFailure, Task

# First prompts of one environment are much alike.
_SAMPLED = 16
_CHARS_PER_TOKEN = 4


class _Nobody:
    """Takes the place of the endpoint."""

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        raise EndpointError("nobody is asked in a dry run")


def describe(config: RunConfig) -> str:
    """Count episodes and requests, estimate tokens, and show the first prompt.

    Raises:
        UserError: Data or tasks are not there; the message says what to do.
    """
    identity, tasks, _ = prepare.list_tasks(config)
    sampled = [task for some in tasks.values() for task in some[:_SAMPLED]]
    asked = _first_queries(config, identity, sampled)
    return "\n".join((*_counts(config, identity, tasks, asked), "", *_prompt(asked[0])))


def _first_queries(
    config: RunConfig, identity: EnvIdentity, tasks: Sequence[Task]
) -> list[ChatQuery]:
    agent = endpoint_run.agent(config, _Nobody())
    found: list[ChatQuery] = []
    with EnvPool(
        identity.gym_id,
        config.env.options,
        max_turns=config.env.max_turns,
        num_slots=1,
        num_workers=0,
    ) as pool:
        for task in tasks:
            start = pool.reset({0: task})[0]
            if isinstance(start, EpisodeFailure):
                raise SettingsError(f"task {task.task_id} cannot be started: {start.reason}")
            seen = start.observation
            state = EpisodeState(episode=0, seed=0, start=seen, turns=(), observation=seen)
            found.append(agent.query(state, config.eval.temperature))
    return found


def _counts(
    config: RunConfig,
    identity: EnvIdentity,
    tasks: Mapping[str, Sequence[Task]],
    asked: Sequence[ChatQuery],
) -> list[str]:
    each, turns = config.eval.episodes_per_task, config.env.max_turns
    by_split = {split: len(listed) * each for split, listed in tasks.items()}
    requests = sum(by_split.values()) * turns
    characters = sum(len(query.system) + len(query.message) for query in asked)
    prompt = round(characters / len(asked) / _CHARS_PER_TOKEN)
    answer = config.agent.max_response_tokens
    splits = ", ".join(f"{split} {episodes}" for split, episodes in by_split.items())
    played = f"{identity.gym_id}, {identity.source}"
    return [
        f"{config.model.name} at {config.model.base_url}: nobody was asked",
        f"episodes     {sum(by_split.values()):,} of {played}: {splits}",
        f"requests     at most {requests:,}: {turns} turns an episode; "
        f"{config.model.concurrency} at once",
        f"prompts      about {prompt:,} tokens, {requests * prompt:,} in all requests, by "
        f"characters / {_CHARS_PER_TOKEN} of the first prompts of {len(asked)} tasks; later ones "
        f"are longer: they tell up to {config.agent.history} turns more",
        f"completions  at most {answer:,} tokens, {requests * answer:,} in all requests",
    ]


def _prompt(query: ChatQuery) -> list[str]:
    told = [("system", query.system), ("user", query.message)]
    lines = [line for role, text in told if text for line in (f"[{role}]", *text.splitlines(), "")]
    return [plain(line) for line in lines[:-1]]
