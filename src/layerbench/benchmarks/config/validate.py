"""Checks of settings against each other, before any model or environment is loaded."""

import datetime

from layerbench.benchmarks.config import endpoints, evaluations, panels, trackers
from layerbench.benchmarks.config.schema import MOST_EVALUATED, RunConfig, TrainSettings
from layerbench.benchmarks.errors import SettingsError
from layerbench.rl.types import CONTROLS

PRESETS = ("quick", "quick-generate", "default", "small", "paper", "paper-code", "paper-math")

# vLLM's limit for free text, as in its backend, which is not imported here: it loads torch.
_VLLM_MAX_TEMPERATURE = 2.0


def check(config: RunConfig) -> None:
    """Refuse values that no run can have.

    Raises:
        SettingsError: A value is not allowed; the message has the setting, its value and what
            would be right.
    """
    endpoints.check(config)
    trackers.check(config.track)
    panels.check(config)
    if not config.env.eval_splits and not config.eval.valid_tasks:
        raise SettingsError(
            "env.eval_splits is empty, and eval.valid_tasks is 0: nothing is scored"
        )
    # A record refuses two evaluations of one phase and split, but only after the run.
    if len(set(config.env.eval_splits)) < len(config.env.eval_splits):
        raise SettingsError(f"env.eval_splits repeats a split: {config.env.eval_splits}")
    if config.layers != "none" and config.env.train_split in config.env.eval_splits:
        raise SettingsError(
            f"env.eval_splits has {config.env.train_split}, which the run trains on "
            "(env.train_split): score it on what it has never seen, or use layerbench eval"
        )
    if config.algorithm.name == "dr_grpo" and config.algorithm.normalisation != "mean":
        raise SettingsError("algorithm.normalisation must be mean: Dr. GRPO has no deviation")
    if config.agent.action_mode == "choose" and not config.agent.thinking:
        raise SettingsError(
            "agent.thinking is about free text, but agent.action_mode is choose, where nothing is "
            "thought: leave it out"
        )
    _check_date(config.agent.date)
    _check_prompt_file(config)
    _check_training(config.train)
    if config.layers in CONTROLS and config.train.lora_rank:
        raise SettingsError(
            f"train.lora_rank puts adapters on layers, and layers={config.layers} has none: "
            "leave it out"
        )
    _check_evaluations(config)
    _check_backend(config)


def check_episodes(config: RunConfig, *, tasks: int) -> None:
    """Refuse evaluations of more episodes than a record, and the file of its episodes, can have.

    Args:
        config: The settings.
        tasks: Number of tasks of all splits together.

    Raises:
        SettingsError: There are more.
    """
    episodes = evaluations.episodes_of_evaluations(config, tasks=tasks)
    if episodes > MOST_EVALUATED:
        raise SettingsError(
            "eval.tasks, eval.episodes_per_task, eval.temperatures, eval.every and "
            f"env.eval_splits make {episodes} episodes of evaluations: {MOST_EVALUATED} are the "
            "most"
        )


def check_style(config: RunConfig) -> None:
    """Refuse an embedded model's prompt style where it has no words for what it must show.

    Not part of ``check``, which also serves ``layerbench play``: a human player needs no style.

    Raises:
        SettingsError: The style does not fit; the message says what would be right.
    """
    style, pages = config.agent.style, config.env.options.get("observation_mode", "text")
    if style in ("auto", "chat", "file"):
        return
    if config.agent.action_mode != "choose":
        raise SettingsError(
            f"agent.style {style} asks for no form of an answer: take agent.action_mode=choose, "
            "or another style"
        )
    if style != "plain" and pages != "text":
        raise SettingsError(
            f"agent.style {style} reads env.observation_mode=text, not {pages}: leave it at text, "
            "or take agent.style=webshop and a model that speaks"
        )


def _check_date(date: str) -> None:
    # The pattern as well: fromisoformat takes other forms too, which would be other settings.
    try:
        right = datetime.date.fromisoformat(date).isoformat() == date
    except ValueError:
        right = False
    if not right:
        raise SettingsError(f"agent.date must be a day such as 2024-07-26, got {date}")


def _check_prompt_file(config: RunConfig) -> None:
    agent = config.agent
    if not agent.prompt_file:
        if agent.style == "file":
            raise SettingsError("agent.style=file needs the file: give agent.prompt_file=FILE")
        return
    if agent.style not in ("auto", "file"):
        raise SettingsError(
            "agent.prompt_file has the words of the prompts, and so has "
            f"agent.style={agent.style}: leave one of them out"
        )
    if agent.context_mode != "window":
        raise SettingsError(
            "agent.prompt_file words one prompt a turn, but agent.context_mode is "
            f"{agent.context_mode}: take window"
        )


def _check_training(train: TrainSettings) -> None:
    if train.tasks < train.tasks_per_iteration:
        raise SettingsError(
            f"train.tasks is {train.tasks}, less than the "
            f"{train.tasks_per_iteration} of train.tasks_per_iteration"
        )
    if train.lora_learning_rate and not train.lora_rank:
        raise SettingsError("train.lora_learning_rate is of adapters: give train.lora_rank as well")


def _check_evaluations(config: RunConfig) -> None:
    temperatures = config.eval.temperatures
    if not temperatures:
        raise SettingsError("eval.temperatures is empty: name at least one, such as 1")
    # A record refuses two evaluations of one temperature, but only after the run.
    if len(set(temperatures)) < len(temperatures):
        raise SettingsError(f"eval.temperatures repeats one: {temperatures}")
    # Of a whole split, the length is known once its tasks are listed.
    check_episodes(config, tasks=max(config.eval.tasks, 1) * len(config.env.eval_splits))


def _check_backend(config: RunConfig) -> None:
    if config.model.backend != "vllm":
        return
    if endpoints.is_endpoint(config.model.name):
        raise SettingsError(
            f"model.backend is of models that are loaded here, but {config.model.name} is behind "
            "an endpoint: leave it out"
        )
    if config.agent.action_mode == "generate":
        temperatures = {
            "train.temperature": config.train.temperature,
            "eval.temperatures": max(config.eval.temperatures),
        }
        for name, temperature in temperatures.items():
            if temperature > _VLLM_MAX_TEMPERATURE:
                raise SettingsError(
                    f"{name} is {temperature:g}, but vLLM samples free text at "
                    f"{_VLLM_MAX_TEMPERATURE:g} at most: take model.backend=transformers"
                )
