"""Loads all that a run needs (tasks, model, agent, selection) and checks that it fits together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent, StreamingAgent
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.transformers.static import StaticStepper
from layerbench.agents.backends.transformers.stepper import Stepper
from layerbench.agents.backends.vllm import engine
from layerbench.agents.backends.vllm.backend import VLLMBackend
from layerbench.agents.backends.vllm.engine import EngineSettings
from layerbench.agents.context import ChatFormat, Tokenizer
from layerbench.agents.pretrained import loading as pretrained
from layerbench.agents.prompts import PromptStyle
from layerbench.agents.types import ActionMode, ContextMode
from layerbench.benchmarks.config import validate
from layerbench.benchmarks.config.schema import AgentConfig, RunConfig
from layerbench.benchmarks.config.selected_layers import selection_of
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import loading
from layerbench.benchmarks.runs import vocabulary
from layerbench.benchmarks.runs.task_lists import list_tasks
from layerbench.envs import registry
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import Task
from layerbench.rl.floor_controls import check_control
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.lora import check_adapters
from layerbench.rl.lr_scales import check_scales, parse_scales
from layerbench.rl.types import LayerSelection


def _keep_silent(_line: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run that is ready to start.

    Attributes:
        config: The settings.
        identity: The environment.
        train_tasks: Fixed list of the tasks to train on; empty where nothing is trained.
        eval_tasks: Fixed lists of the tasks to score, and to validate on, by split.
        model: The base model, in which the selection is trained.
        agent: Agent that plays with that model.
        selection: Layers to train.
    """

    config: RunConfig
    identity: EnvIdentity
    train_tasks: tuple[Task, ...]
    eval_tasks: Mapping[str, tuple[Task, ...]]
    model: nn.Module
    agent: LLMAgent
    selection: LayerSelection

    @property
    def trains(self) -> bool:
        """Whether any layer is trained."""
        return bool(self.train_tasks)


def prepare(
    config: RunConfig, *, loading_next: Callable[[str], None] = _keep_silent
) -> PreparedRun:
    """List the tasks, load the model, and parse the selection.

    Args:
        config: The settings.
        loading_next: Receives the name of each part before it is loaded, which can take minutes.

    Raises:
        UserError: Data, tasks, model or layers are missing; the message says what to do.
    """
    if config.model.backend == "vllm":
        engine.require()
    torch.set_num_threads(config.model.threads)
    # Before the model, which can take minutes to load.
    loading_next("the tasks")
    tasks = list_tasks(config)
    loading_next(f"the model {config.model.name}")
    model, tokenizer = loading.load(config.model)
    _check_sources(config, model)
    num_layers = len(decoder_blocks(model))
    # The parts are combined after the base evaluation: a bad one must be found before it.
    loading.check_parts(model, config.parts, num_layers=num_layers)
    selection = selection_of(config, num_layers=num_layers)
    check_scales(parse_scales(config.train.lr_scale), selection)
    check_adapters(model, selection, rank=config.train.lora_rank)
    check_control(model, selection)
    return PreparedRun(
        config=config,
        identity=tasks.identity,
        train_tasks=tasks.train,
        eval_tasks=tasks.evaluated(config),
        model=model,
        agent=_agent(config, model, tokenizer, next(iter(tasks.evaluated(config).values()))),
        selection=selection,
    )


def _check_sources(config: RunConfig, model: nn.Module) -> None:
    """Make sure that settings read from an earlier sweep are of this base model."""
    read = config.read_from
    sources = [s for s in (read.layers, read.lr_scale, read.rates) if s.asked]
    # Only where it is needed: hashing reads all weights.
    base = pretrained.weights_hash(model) if sources else ""
    for source in sources:
        if source.weights_sha256 != base:
            raise SettingsError(
                f"'{source.asked}' is of a base model with other weights than "
                f"{config.model.name}: layers of one model say nothing about another's here"
            )


def agent_settings(
    config: AgentConfig,
    *,
    max_context_tokens: int | None = None,
    declared_ends: tuple[int, ...] = (),
) -> AgentSettings:
    """Convert the section ``agent`` to the settings of an agent.

    Args:
        config: The section.
        max_context_tokens: Limit for this model; None takes that of the section.
        declared_ends: Tokens by which this model declares that a response ends.
    """
    return AgentSettings(
        action_mode=config.action_mode,
        context_mode=config.context_mode,
        history=config.history,
        max_prompt_tokens=config.max_prompt_tokens,
        max_response_tokens=config.max_response_tokens,
        max_context_tokens=max_context_tokens or config.max_context_tokens,
        thinks=config.thinking,
        date=config.date,
        end_ids=declared_ends,
        answer_form=config.answer_form,
    )


def reading(
    config: RunConfig, model: nn.Module, tokenizer: Tokenizer
) -> tuple[AgentSettings, ChatFormat, PromptStyle]:
    """Settle how a model is shown the environment, and what it can read.

    Raises:
        UserError: The style, the context's length or the chat template does not fit.
    """
    validate.check_style(config)
    readable = _context_tokens(config.agent.max_context_tokens, model)
    settings = agent_settings(
        config.agent, max_context_tokens=readable, declared_ends=pretrained.end_ids(model)
    )
    chat = settings.chat_format(tokenizer)
    rules = registry.find(config.env.reference).rules_with(config.env.options)
    style = prompts.style(
        config.agent.style,
        settings.action_mode,
        rules=rules,
        thinks=settings.thinks,
        answer_form=settings.answer_form,
        prompt_file=config.prompt.text,
    )
    return settings, chat, style


def _agent(
    config: RunConfig, model: nn.Module, tokenizer: Tokenizer, tasks: Sequence[Task]
) -> LLMAgent:
    settings, chat, style = reading(config, model, tokenizer)
    vocabulary.check_words(config, tasks, tokenizer, chat=chat, style=style)
    if config.model.backend == "vllm":
        engine_settings = EngineSettings(
            max_context_tokens=_max_sequence_tokens(settings),
            cache_gb=config.model.cache_gb,
            sleeps=config.model.sleep,
        )
        streaming = VLLMBackend(model, end_ids=chat.end_ids, settings=engine_settings)
        return StreamingAgent(streaming, tokenizer, style, settings)
    backend = TransformersBackend(model, end_ids=chat.end_ids, stepper=_stepper(config, model))
    return LLMAgent(backend, tokenizer, style, settings)


def _stepper(config: RunConfig, model: nn.Module) -> Stepper | None:
    """Make the stepper that the settings ask for; None leaves the choice to the backend.

    Raises:
        SettingsError: The model cannot be decoded in a cache of fixed size.
    """
    on_gpu = any(parameter.device.type == "cuda" for parameter in model.parameters())
    writes = config.agent.action_mode == ActionMode.GENERATE
    if not (config.model.static_cache and on_gpu and writes):
        return None
    try:
        return StaticStepper(model)
    except ValueError as error:
        raise SettingsError(f"model.static_cache=true: {error}; leave the setting out") from error


def _max_sequence_tokens(settings: AgentSettings) -> int:
    """Bound the length of one sequence, prompt and response, for vLLM's KV cache."""
    if (settings.action_mode, settings.context_mode) != (ActionMode.GENERATE, ContextMode.WINDOW):
        return settings.max_context_tokens
    window_tokens = settings.max_prompt_tokens + settings.max_response_tokens
    return min(window_tokens, settings.max_context_tokens)


def _context_tokens(tokens: int, model: nn.Module) -> int:
    """Resolve ``agent.max_context_tokens``: 0 is the model's own limit, which bounds any other."""
    # A model of text and images has the limit in the configuration of its text part.
    text = cast(Any, model).config.get_text_config(decoder=True)
    readable = getattr(text, "max_position_embeddings", None)
    if not isinstance(readable, int):
        if not tokens:
            raise SettingsError(
                "the model does not say how much it can read: set agent.max_context_tokens"
            )
        return tokens
    if tokens > readable:
        raise SettingsError(
            f"agent.max_context_tokens is {tokens}, but the model reads at most {readable} tokens: "
            f"ask for that many, or for 0 to take them all"
        )
    return tokens or readable
