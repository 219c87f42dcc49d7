"""Which values a setting can have, as far as that is known before anything is loaded."""

from collections.abc import Mapping

from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.overrides import check_choice, settings_of
from layerbench.benchmarks.config.schema import RunConfig, TrainConfig
from layerbench.benchmarks.errors import SettingsError

PRESETS = ("quick", "default", "small", "paper")

# The words of the enums and literals in agents and rl, which are slow to import; a test compares.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "model.dtype": ("auto", "float32", "bfloat16"),
    "model.attention": ("auto", "eager", "sdpa", "flash_attention_2"),
    "model.backend": ("transformers", "vllm"),
    "agent.action_mode": ("choose", "generate"),
    "agent.context_mode": ("transcript", "window"),
    "algorithm.name": ("gigpo", "grpo", "dr_grpo"),
    "algorithm.statistics": ("per_trajectory", "per_first_turn", "per_turn"),
    "algorithm.normalisation": ("mean_std", "mean"),
    "train.kl_kind": ("k1", "k2", "k3"),
    "train.aggregation": ("grpo", "token_mean", "dr_grpo"),
}

# Of vLLM, for free text.
_HOTTEST = 2.0

# Smallest and largest value; what is not listed here and is a number can have any from 0 on.
_RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(
        (
            "env.max_turns",
            "env.slots",
            "model.threads",
            "agent.max_prompt_tokens",
            "agent.max_response_tokens",
            "train.iterations",
            "train.tasks",
            "train.tasks_per_iteration",
            "train.epochs",
            "train.minibatches",
            "train.micro_batch_tokens",
            "train.checkpoint_every",
            "train.max_tokens",
            "eval.episodes_per_task",
        ),
        (1, float("inf")),
    ),
    # One episode cannot be compared with anything.
    "train.group_size": (2, float("inf")),
    "model.concurrency": (1, 64),
    "train.clip_low": (0, 1),
    # Below 1 it would cut off ratios that clipping lets through.
    "train.dual_clip": (1, float("inf")),
    "algorithm.discount": (0, 1),
    "algorithm.similarity": (0, 1),
    "seed": (0, 2**32 - 1),
    "eval.seed": (0, 2**32 - 1),
}
# The ends of these ranges that do not belong to them.
_EXCLUDED: Mapping[str, float] = {
    **dict.fromkeys(
        (
            "algorithm.reward_scale",
            "algorithm.similarity",
            "algorithm.std_eps",
            "model.cache_gb",
            "train.grad_clip",
            "train.layer_learning_rate",
            "train.learning_rate",
        ),
        0,
    ),
    "train.clip_low": 1,
}


def check(config: RunConfig) -> None:
    """Refuse values that no run can have.

    Raises:
        SettingsError: Names the setting, its value and what would be right.
    """
    for setting in settings_of(config):
        _check_value(setting.name, setting.value)
    endpoints.check(config)
    if not config.env.eval_splits:
        raise SettingsError("env.eval_splits is empty: name at least one split")
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
    _check_training(config.train)
    _check_backend(config)


def check_style(config: RunConfig) -> None:
    """Refuse to let an embedded model's style tell what it has no words for.

    Apart from the other rules, since a person who plays needs no style.

    Raises:
        SettingsError: Says what would be right.
    """
    style, pages = config.agent.style, config.env.options.get("observation_mode", "text")
    if not style.startswith("compact"):
        return
    if config.agent.action_mode != "choose":
        raise SettingsError(
            f"agent.style {style} asks for no form of an answer: take agent.action_mode=choose, "
            "or another style"
        )
    if pages != "text":
        raise SettingsError(
            f"agent.style {style} reads env.observation_mode=text, not {pages}: leave it at text, "
            "or take agent.style=webshop and a model that speaks"
        )


def _check_training(train: TrainConfig) -> None:
    if train.tasks < train.tasks_per_iteration:
        raise SettingsError(
            f"train.tasks is {train.tasks}, less than the "
            f"{train.tasks_per_iteration} of train.tasks_per_iteration"
        )
    if 0 < train.importance_cap < 1:
        raise SettingsError(
            f"train.importance_cap is {train.importance_cap:g}, but it bounds a weight that "
            "is 1 where engine and trainer agree: take at least 1, or 0 for no correction"
        )
    if train.lora_learning_rate and not train.lora_rank:
        raise SettingsError("train.lora_learning_rate is of adapters: give train.lora_rank as well")
    if train.temperature == 0:
        raise SettingsError("train.temperature is 0, but a greedy policy cannot learn: take 1")


def _check_backend(config: RunConfig) -> None:
    if config.model.backend != "vllm":
        return
    if endpoints.is_endpoint(config.model.name):
        raise SettingsError(
            f"model.backend is of models that are loaded here, but {config.model.name} is behind "
            "an endpoint: leave it out"
        )
    if config.agent.action_mode == "generate":
        asked = {"train": config.train.temperature, "eval": config.eval.temperature}
        for section, temperature in asked.items():
            if temperature > _HOTTEST:
                raise SettingsError(
                    f"{section}.temperature is {temperature:g}, but vLLM samples free text at "
                    f"{_HOTTEST:g} at most: take model.backend=transformers"
                )


def _check_value(name: str, value: object) -> None:
    if name in CHOICES:
        check_choice(name, str(value), CHOICES[name])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = _RANGES.get(name, (0, float("inf")))
    if not low <= value <= high:
        wanted = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
        raise SettingsError(f"{name} must be {wanted}, got {value}")
    if value == _EXCLUDED.get(name):
        side = "above" if value == low else "below"
        raise SettingsError(f"{name} must be {side} {value:g}, got {value}")
