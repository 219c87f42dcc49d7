"""Whether a model's vocabulary has the words of the environment it is to play."""

from collections.abc import Sequence
from contextlib import suppress

from layerbench.agents.agent import SharedTokensError, actions_by_ids
from layerbench.agents.context import ChatFormat, Tokenizer
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import ActionMode
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.runs.environments import open_pool
from layerbench.envs import registry
from layerbench.envs.types import Observation, Task, TaskStart

MAX_UNKNOWN = 0.1
"""Largest share of unknown words among the tokens of prompts and actions.

The embedded models know every word of their own environments, and a third at most of another's: a
tenth leaves room for names that nobody has to read.
"""

_TASKS = 4
# A word of no language, and a character that is assigned to nobody.
_NO_WORD = "qzxjqz \ue000"


def check_words(
    config: RunConfig,
    tasks: Sequence[Task],
    tokenizer: Tokenizer,
    *,
    chat: ChatFormat,
    style: PromptStyle,
) -> None:
    """Read how the first tasks begin, and refuse a model that has no words for it.

    Vocabularies that can spell any word are not looked at, and environments that fail to begin are
    left to the run, which says why.

    Raises:
        SettingsError: Too many words are unknown, or two actions have the same tokens.
    """
    if _unknown_word(tokenizer, chat) is None:
        return
    observations: list[Observation] = []
    with suppress(Exception):
        observations += _openings(config, tasks[:_TASKS])
    chooses = config.agent.action_mode is ActionMode.CHOOSE
    share = unknown_share(observations, tokenizer, chat=chat, style=style, chooses=chooses)
    if share is not None and share > MAX_UNKNOWN:
        raise SettingsError(
            f"model {config.model.name} has no words for {share:.0%} of what {config.env.name} "
            f"shows, so that different texts look alike to it: {_way_out(config)}"
        )
    for observation in observations if chooses else ():
        try:
            actions_by_ids(chat, observation.choices or observation.admissible_actions)
        except SharedTokensError as error:
            raise shared_tokens(config, error) from error


def unknown_share(
    observations: Sequence[Observation],
    tokenizer: Tokenizer,
    *,
    chat: ChatFormat,
    style: PromptStyle,
    chooses: bool,
) -> float | None:
    """Compute the share of unknown words in prompts that show these, and in actions to choose from.

    Returns:
        The share; None for a vocabulary that can spell any word.
    """
    unknown = _unknown_word(tokenizer, chat)
    if unknown is None:
        return None
    token_ids: list[int] = []
    for observation in observations:
        token_ids += chat.text_ids(f"{style.system} {style.first(observation)}")
        actions = observation.choices or observation.admissible_actions
        for action in actions if chooses else ():
            token_ids += chat.text_ids(action)
    return token_ids.count(unknown) / max(1, len(token_ids))


def _unknown_word(tokenizer: Tokenizer, chat: ChatFormat) -> int | None:
    unknown = getattr(tokenizer, "unk_token_id", None)
    return unknown if unknown in chat.text_ids(_NO_WORD) else None


def shared_tokens(config: RunConfig, error: SharedTokensError) -> SettingsError:
    """Say of which environment and model the two actions are."""
    return SettingsError(
        f"{error}, by the tokenizer of model {config.model.name} in {config.env.name}, so that one "
        f"of them could never be played: {_way_out(config)}"
    )


def _way_out(config: RunConfig) -> str:
    presets = registry.find(config.env.reference).presets
    own = presets.get("default", {}).get("model.name")
    if own is not None and own != config.model.name:
        return f"take --model {own}, or a chat model"
    return "take a chat model (--model), whose vocabulary can spell any word"


def _openings(config: RunConfig, tasks: Sequence[Task]) -> list[Observation]:
    with open_pool(config.env, one_by_one=True) as pool:
        starts = [pool.reset({0: task})[0] for task in tasks]
    return [start.observation for start in starts if isinstance(start, TaskStart)]
