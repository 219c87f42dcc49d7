"""Settings that were typed and have no effect beside the others: refused, for a record has them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from layerbench.agents.pretrained import names
from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.envs import registry
from layerbench.rl.selection import names_one_layer
from layerbench.rl.types import CONTROLS

_OPTIONS = "env.options."


def check(typed: Sequence[str], configs: Sequence[RunConfig]) -> None:
    """Refuse a typed setting that none of the runs uses, naming the one that counts.

    Values that come from presets, or from a record, were not typed, and stay.

    Args:
        typed: Overrides, ``name=value`` each.
        configs: Settings of the runs that they are for; at least one.

    Raises:
        SettingsError: A setting has no effect in any of the runs.
    """
    # A base run takes the settings of training of the runs that it is the base of, unused.
    training = [config for config in configs if config.layers != "none"]
    reasons = [list(_unused(config)) for config in training or configs]
    for item in typed:
        name = item.partition("=")[0].strip().replace(_OPTIONS, "env.")
        # By the first run alone: the others differ from it in their layers and seeds.
        found = [_reason(name, listed) for listed in reasons]
        if all(found):
            raise SettingsError(f"{name} has no effect here: {found[0]}")


def _reason(name: str, unused: Sequence[tuple[str, str]]) -> str:
    """Say why a setting has no effect; empty if it has one."""
    matches = (
        why
        for what, why in unused
        if name == what or (what.endswith(".") and name.startswith(what))
    )
    return next(matches, "")


def _unused(config: RunConfig) -> Iterator[tuple[str, str]]:
    """List settings, or sections that end in a dot, which have no effect, and why."""
    yield from _of_env(config)
    yield from _of_evaluations(config)
    yield from _of_model(config)
    yield from _of_agent(config)
    if config.layers == "none":
        return
    yield from _of_rates(config)
    yield from _of_algorithm(config)
    yield from _of_loss(config)
    if config.eval.every >= config.train.iterations:
        yield (
            "eval.every",
            f"train.iterations is {config.train.iterations}, and the last one is always scored",
        )


def _of_env(config: RunConfig) -> Iterator[tuple[str, str]]:
    env = config.env
    if not env.workers and registry.is_own(env.reference):
        yield "env.timeout_s", "env.workers is 0, and no worker process is waited for"
    if env.name != "alfworld":
        return
    if env.options["data_dir"] or env.options["source"] == "official":
        yield "env.difficulty", "it is of generated games, and these are published ones"
        yield "env.goal_words", "they are of generated games, and these are published ones"
    if env.options["data_dir"] and env.options["source"] == "generated":
        yield "env.source", "env.data_dir has published games, which are taken"


def _of_evaluations(config: RunConfig) -> Iterator[tuple[str, str]]:
    if not config.eval.valid_tasks:
        # None are asked for, and none are drawn.
        return
    if len(config.eval.temperatures) == 1 and config.env.eval_splits:
        yield (
            "eval.valid_tasks",
            "they choose a temperature, and eval.temperatures has one alone",
        )
    elif config.env.train_split in config.env.eval_splits:
        why = f"they are of {config.env.train_split}, which is scored (env.eval_splits)"
        yield "eval.valid_tasks", why


def _of_model(config: RunConfig) -> Iterator[tuple[str, str]]:
    model = config.model
    if endpoints.is_endpoint(model.name):
        for name in (
            "dtype",
            "device",
            "trust_remote_code",
            "threads",
            "processes",
            "attention",
            "static_cache",
            "cache_gb",
            "sleep",
        ):
            yield f"model.{name}", f"{model.name} is not loaded here, but behind an endpoint"
        why = f"the tokens of {model.name} are not known here"
        yield "agent.max_prompt_tokens", why
        yield "agent.max_context_tokens", why
        yield "agent.date", f"the endpoint of {model.name} dates its chats itself"
        return
    yield "model.concurrency", f"it is of {endpoints.PREFIX}NAME, a model behind an endpoint"
    if names.is_known(model.name) or Path(model.name).is_dir():
        yield "model.revision", f"it is of models on the Hub, and {model.name} is not loaded there"
    # Each by what is known to leave it out: there are backends and algorithms of others' own.
    if model.backend == "transformers":
        for name in ("cache_gb", "sleep"):
            yield f"model.{name}", f"it is of model.backend=vllm, not {model.backend}"
    if model.backend == "vllm":
        yield "model.static_cache", f"it is of model.backend=transformers, not {model.backend}"


def _of_agent(config: RunConfig) -> Iterator[tuple[str, str]]:
    agent = config.agent
    if agent.context_mode == "transcript":
        why = (
            "it is of agent.context_mode=window, not transcript, whose limit is max_context_tokens"
        )
        yield "agent.max_prompt_tokens", why
        yield "agent.history", "it is of agent.context_mode=window; a transcript has every turn"
    if agent.action_mode == "choose":
        why = "it is of free text (agent.action_mode=generate), not choose"
        yield "agent.max_response_tokens", why
        yield "agent.answer_form", why
        yield "model.static_cache", why
        # What is listed is what can be chosen.
        yield "algorithm.invalid_penalty", "agent.action_mode=choose has no invalid actions"


def _of_rates(config: RunConfig) -> Iterator[tuple[str, str]]:
    train = config.train
    if train.lora_rank and train.lora_learning_rate:
        why = f"adapters learn at train.lora_learning_rate, {train.lora_learning_rate:g}"
        yield "train.learning_rate", why
        yield "train.layer_learning_rate", why
    if not train.lora_rank:
        yield "train.lora_learning_rate", "it is of adapters: give train.lora_rank as well"
    if config.layers in CONTROLS:
        why = (
            f"layers={config.layers} learns at train.control_learning_rate, "
            f"{train.control_learning_rate:g}"
        )
        yield "train.learning_rate", why
        yield "train.layer_learning_rate", why
        yield "train.weight_decay", f"the weights of layers={config.layers} do not decay"
        return
    yield "train.control_learning_rate", "it is of layers=scale and layers=norm"
    if names_one_layer(config.layers):
        why = (
            f"layers={config.layers} learns at train.layer_learning_rate, "
            f"{train.layer_learning_rate:g}"
        )
        yield "train.learning_rate", why
    else:
        why = f"layers={config.layers} learns at train.learning_rate, {train.learning_rate:g}"
        yield "train.layer_learning_rate", why


def _of_algorithm(config: RunConfig) -> Iterator[tuple[str, str]]:
    algorithm = config.algorithm
    why = ""
    if algorithm.name in ("grpo", "dr_grpo"):
        why = f"it is of algorithm.name=gigpo, not {algorithm.name}"
        yield "algorithm.step_weight", why
    elif algorithm.name == "gigpo" and not algorithm.step_weight:
        why = "algorithm.step_weight is 0"
    if why:
        for name in ("algorithm.discount", "algorithm.similarity", "env.anchor"):
            yield name, why
    if algorithm.normalisation == "mean":
        yield "algorithm.std_eps", "algorithm.normalisation=mean divides by no deviation"


def _of_loss(config: RunConfig) -> Iterator[tuple[str, str]]:
    loss = config.train.loss
    if loss.aggregation in ("grpo", "token_mean"):
        why = f"it is of train.aggregation=dr_grpo, not {loss.aggregation}"
        yield "train.max_tokens", why
    if not loss.kl_coef:
        yield "train.kl_kind", "train.kl_coef is 0"
