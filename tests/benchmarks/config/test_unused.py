"""A typed setting that has no effect beside the others is refused, with the one that counts."""

from collections.abc import Sequence

import pytest

from layerbench.benchmarks.config import unused
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep import sweep
from layerbench.benchmarks.sweep.sweep import Asked

WINDOW = ("agent.action_mode=generate", "agent.context_mode=window")


def load(*typed: str, env: str = "keydoor") -> None:
    # The quick preset chooses in transcripts, and keydoor's has a KL term.
    resolve.load(env, typed, preset="quick")


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (
            ["layers=1", "train.learning_rate=0.5"],
            "layers=1 learns at train.layer_learning_rate, 0.001",
        ),
        (
            ["layers=middle:1", "train.learning_rate=0.5"],
            "layers=middle:1 learns at train.layer_learning_rate, 0.001",
        ),
        (
            ["layers=middle:2", "train.layer_learning_rate=0.5"],
            "layers=middle:2 learns at train.learning_rate, 0.0001",
        ),
        (
            ["train.layer_learning_rate=0.5"],
            "layers=full learns at train.learning_rate, 0.0001",
        ),
        (
            ["layers=All-Layers", "train.layer_learning_rate=0.5"],
            "layers=all-layers learns at train.learning_rate, 0.0001",
        ),
        (
            ["train.learning_rate=0.5", "train.lora_rank=2", "train.lora_learning_rate=0.25"],
            "adapters learn at train.lora_learning_rate, 0.25",
        ),
        (
            ["train.lora_learning_rate=0"],
            "it is of adapters: give train.lora_rank as well",
        ),
        (
            ["eval.every=2"],
            "train.iterations is 2, and the last one is always scored",
        ),
        (["agent.history=3"], "it is of agent.context_mode=window"),
        (["agent.max_prompt_tokens=9"], "it is of agent.context_mode=window"),
        (["agent.max_response_tokens=9"], "it is of free text"),
        (["agent.answer_form=verl_agent"], "it is of free text"),
        (["algorithm.invalid_penalty=0.5"], "agent.action_mode=choose has no invalid actions"),
        (["env.timeout_s=5"], "env.workers is 0"),
        (["model.revision=main"], "it is of models on the Hub, and embedded-keydoor is not"),
        (["model.concurrency=2"], "it is of openai:NAME"),
        (["model.cache_gb=1"], "it is of model.backend=vllm, not transformers"),
        (["model.sleep=true"], "it is of model.backend=vllm, not transformers"),
        (["model.static_cache=true"], "it is of free text"),
        (
            ["agent.action_mode=generate", "model.backend=vllm", "model.static_cache=true"],
            "it is of model.backend=transformers, not vllm",
        ),
        (
            ["algorithm.name=grpo", "algorithm.step_weight=2"],
            "it is of algorithm.name=gigpo, not grpo",
        ),
        (
            ["algorithm.name=dr_grpo", "algorithm.similarity=0.9"],
            "it is of algorithm.name=gigpo, not dr_grpo",
        ),
        (
            ["algorithm.name=grpo", "algorithm.discount=0.5"],
            "it is of algorithm.name=gigpo, not grpo",
        ),
        (["algorithm.step_weight=0", "algorithm.discount=0.5"], "algorithm.step_weight is 0"),
        (
            ["algorithm.name=dr_grpo", "algorithm.std_eps=0.1"],
            "algorithm.normalisation=mean divides by no deviation",
        ),
        (["train.max_tokens=64"], "it is of train.aggregation=dr_grpo, not token_mean"),
        (["train.kl_coef=0", "train.kl_kind=k2"], "train.kl_coef is 0"),
    ],
)
def test_a_setting_without_effect_is_refused(typed: Sequence[str], reason: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load(*typed)
    assert f" has no effect here: {reason}" in str(refusal.value)


@pytest.mark.parametrize("name", ["env.anchor", "env.options.anchor"])
def test_an_option_of_an_environment_without_effect_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"env\.anchor has no effect here: .*gigpo, not grpo"):
        load(f"{name}=observation", "algorithm.name=grpo", env="alfworld")
    load(f"{name}=observation", env="alfworld")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        (["env.source=official", "env.difficulty=hard"], "env.difficulty"),
        (["env.data_dir=/games", "env.options.difficulty=easy"], "env.difficulty"),
        (["env.data_dir=/games", "env.source=generated"], "env.source"),
    ],
)
def test_options_of_generated_games_are_refused_beside_published_ones(
    typed: Sequence[str], name: str
) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} has no effect here: .*published"):
        load(*typed, env="alfworld")
    load("env.source=generated", "env.difficulty=hard", env="alfworld")
    load("env.source=official", "env.data_dir=/games", env="alfworld")


@pytest.mark.parametrize(
    "typed", ["agent.max_prompt_tokens=9", "agent.max_context_tokens=9", "agent.date=2030-01-02"]
)
def test_what_an_endpoint_decides_itself_is_refused(typed: str) -> None:
    endpoint = ("layers=none", "model.name=openai:some", "model.base_url=http://localhost:1/v1")
    with pytest.raises(SettingsError, match=r"has no effect here: .*openai:some"):
        load(*endpoint, typed)
    load(*endpoint, "agent.history=1", "agent.max_response_tokens=9", "model.concurrency=2")


@pytest.mark.parametrize(
    "typed",
    [
        ["layers=1", "train.layer_learning_rate=0.5"],
        ["train.learning_rate=0.5"],
        ["layers=all-layers", "train.learning_rate=0.5"],
        # Adapters without a rate of their own have that of whole weights.
        ["train.learning_rate=0.5", "train.lora_rank=2"],
        ["train.lora_rank=2", "train.lora_learning_rate=0.25"],
        ["eval.every=1"],
        ["eval.valid_tasks=0", "eval.temperatures=1"],
        [*WINDOW, "agent.history=3", "agent.max_prompt_tokens=9", "agent.max_response_tokens=9"],
        [*WINDOW, "algorithm.invalid_penalty=0.5"],
        ["algorithm.step_weight=2", "algorithm.similarity=0.9", "algorithm.discount=0.5"],
        ["algorithm.name=grpo", "algorithm.std_eps=0.1", "train.kl_kind=k2"],
        ["algorithm.name=dr_grpo", "train.max_tokens=64"],
        ["layers=none", "eval.tasks=2", "seed=3", "train.iterations=5", "algorithm.name=grpo"],
        ["model.backend=vllm", "model.cache_gb=1", "model.sleep=true"],
        [*WINDOW, "model.static_cache=true"],
    ],
)
def test_a_setting_with_an_effect_is_taken(typed: Sequence[str]) -> None:
    load(*typed)


def test_settings_of_a_preset_are_no_typed_ones() -> None:
    # Every preset has both rates, and a length of responses.
    for preset in ("quick", "default", "small", "paper"):
        for layers in ("1", "full", "none"):
            resolve.load("alfworld", [f"layers={layers}"], preset=preset)


def test_one_run_that_uses_a_setting_is_enough() -> None:
    typed = ["train.learning_rate=0.5"]
    configs = [resolve.load("keydoor", [f"layers={layers}"]) for layers in ("none", "1", "full")]
    unused.check(typed, configs)
    with pytest.raises(SettingsError, match=r"train\.learning_rate has no effect here"):
        unused.check(typed, configs[:2])


def planned(layers: str, *settings: str) -> None:
    asked = Asked(
        env="keydoor", settings=settings, layers=layers, seeds="1", preset="quick", file=None,
        jobs=1, launcher="joblib", force=False,
    )  # fmt: skip
    sweep._request(asked)  # pyright: ignore[reportPrivateUsage]


def test_a_sweep_takes_what_any_of_its_runs_uses() -> None:
    # Every sweep has the base model and full training, whose rates differ from those of layers.
    planned("0", "train.learning_rate=0.5", "train.layer_learning_rate=0.5", "train.iterations=3")
    with pytest.raises(SettingsError, match=r"train\.layer_learning_rate has no effect here"):
        planned("full", "train.layer_learning_rate=0.5")
    with pytest.raises(SettingsError, match=r"agent\.history has no effect here"):
        planned("0", "agent.history=3")
