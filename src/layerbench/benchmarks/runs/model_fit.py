"""Whether a model can read an environment, and tell its actions apart."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from layerbench.agents.agent import AgentSettings, SharedTokensError, actions_by_ids
from layerbench.agents.context import ChatFormat
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.runs import prepare, vocabulary
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.envs import registry
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.checks.player import has_failed, is_over, random_action
from layerbench.envs.types import Observation

_EPISODES = 4


@dataclass(frozen=True, slots=True)
class _Episode:
    """Observations, each of which an action was due after, and the actions."""

    observations: Sequence[Observation]
    actions: Sequence[str]


def check_model(config: RunConfig) -> Iterator[Finding]:
    """Count what episodes of a random player are in the model's tokens.

    Args:
        config: The settings, of a model that is loaded here.

    Raises:
        UserError: The model cannot be loaded or shown the environment.
    """
    if endpoints.is_endpoint(config.model.name):
        raise SettingsError("the tokens of a model behind an endpoint are not known here")
    model, tokenizer = loading.load(config.model)
    settings, chat, style = prepare.reading(config, model, tokenizer)
    episodes = _play(config)
    seen = [observation for episode in episodes for observation in episode.observations]
    chooses = settings.action_mode is ActionMode.CHOOSE
    yield _words(
        config,
        vocabulary.unknown_share(seen, tokenizer, chat=chat, style=style, chooses=chooses),
    )
    if chooses:
        yield _actions(config, chat, seen)
    yield _lengths(settings, chat, style, episodes)


def _words(config: RunConfig, share: float | None) -> Finding:
    name = "words"
    if share is None:
        return Finding(name, Verdict.HOLDS, f"{config.model.name} can spell any word")
    detail = f"{share:.1%} of the tokens are unknown words to {config.model.name}"
    if share > vocabulary.MAX_UNKNOWN:
        most = f"{vocabulary.MAX_UNKNOWN:.0%} are the most: take a chat model"
        return Finding(name, Verdict.FAILS, f"{detail}; {most}")
    return Finding(name, Verdict.HOLDS, detail)


def _actions(config: RunConfig, chat: ChatFormat, seen: Sequence[Observation]) -> Finding:
    name, longest = "tokens of actions", 0
    for observation in seen:
        try:
            by_ids = actions_by_ids(chat, observation.choices or observation.admissible_actions)
        except SharedTokensError as error:
            return Finding(name, Verdict.FAILS, str(vocabulary.shared_tokens(config, error)))
        longest = max([longest, *map(len, by_ids)])
    return Finding(name, Verdict.HOLDS, f"all differ; {longest} tokens at most")


def _lengths(
    settings: AgentSettings, chat: ChatFormat, style: PromptStyle, episodes: Sequence[_Episode]
) -> Finding:
    """Compare what has to be read with what can be."""
    name = "length"
    if settings.context_mode is ContextMode.WINDOW:
        shortest = [
            len(chat.opening(style.window(e.observations[0], [], o, n), system=style.system))
            for e in episodes
            for n, o in enumerate(e.observations)
        ]
        room = settings.max_prompt_tokens
        detail = (
            f"{max(shortest)} tokens at most in a prompt without history; "
            f"agent.max_prompt_tokens={room}"
        )
        return Finding(name, Verdict.FAILS if max(shortest) > room else Verdict.HOLDS, detail)
    openings: list[int] = []
    turns: list[int] = []
    totals: list[int] = []
    for episode in episodes:
        lengths = _transcript(settings, chat, style, episode)
        openings.append(lengths[0])
        turns += lengths[1:]
        totals.append(sum(lengths))
    room = settings.max_context_tokens
    detail = (
        f"opening {max(openings)} tokens, a turn {max(turns, default=0)} at most, an episode "
        f"{max(totals)}; the context has {room}"
    )
    if max(totals) <= room:
        return Finding(name, Verdict.HOLDS, detail)
    return Finding(
        name,
        Verdict.FAILS,
        f"{detail}, so that episodes would be cut off: take agent.context_mode=window, fewer "
        "env.max_turns or a model that reads more",
    )


def _transcript(
    settings: AgentSettings, chat: ChatFormat, style: PromptStyle, episode: _Episode
) -> list[int]:
    """Count the tokens of the opening and of each turn, answers included."""
    start, *later = episode.observations
    lengths = [len(chat.opening(style.first(start), system=style.system))]
    lengths += [
        len(chat.continuation(style.later(start, observation), closed=True))
        for observation in later
    ]
    for turn, action in enumerate(episode.actions):
        chosen = settings.action_mode is ActionMode.CHOOSE
        lengths[turn] += len(chat.action(action)) if chosen else settings.max_response_tokens
    return lengths


def _play(config: RunConfig) -> list[_Episode]:
    env = config.env
    tasks = registry.list_tasks(
        registry.find(env.reference),
        split=env.train_split,
        count=min(_EPISODES, config.train.tasks),
        seed=config.seed,
        options=env.options,
        timeout_s=env.patience_s,
    )
    episodes: list[_Episode] = []
    with open_pool(env, one_by_one=True) as pool:
        for number, task in enumerate(tasks):
            chance = random.Random(number)
            outcomes: dict[int, Any] = dict(pool.reset({0: task}))
            observations: list[Observation] = []
            actions: list[str] = []
            while not has_failed(outcomes) and not is_over(outcomes[0]):
                observations.append(outcomes[0].observation)
                actions.append(random_action(observations[-1], chance))
                outcomes = dict(pool.step({0: actions[-1]}))
            if observations:
                episodes.append(_Episode(observations, actions))
    if not episodes:
        raise SettingsError(f"{env.name}: no episode could be played")
    return episodes
