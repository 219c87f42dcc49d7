"""The settings of a run as dataclasses; their values are in ``conf/``, one YAML file each."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class EnvConfig:
    """What is played.

    Attributes:
        name: Name in the registry.
        train_split: Tasks to train on.
        eval_splits: Tasks to score; each split is scored and reported by itself.
        max_turns: Actions after which an episode is truncated.
        workers: Processes that play; 0 plays in the main process.
        slots: Episodes under way at once.
        options: The environment's own options, declared in its YAML file; on the command line
            ``env.NAME=`` stands for ``env.options.NAME=``.
    """

    name: str = MISSING
    train_split: str = MISSING
    eval_splits: list[str] = field(default_factory=list[str])
    max_turns: int = MISSING
    workers: int = MISSING
    slots: int = MISSING
    options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class ModelConfig:
    """What plays.

    Attributes:
        name: An embedded model (``embedded``, ``embedded-webshop``), ``smollm2-135m`` once it was
            fetched, a folder, a name on the Hugging Face Hub, the folder of a delta, or that of a
            run, which becomes the newest checkpoint in it: the run's base model with what it has
            trained. Or ``openai:NAME``, which is asked over the network.
        revision: Branch, tag or commit on the Hub; of a run's or delta's model, that of its base.
        dtype: ``float32``, ``bfloat16``, or ``auto``: float32 on a CPU, bfloat16 elsewhere.
        device: As torch names it; ``auto``: the first GPU if there is one; or ``split``: the layers
            are laid out over all GPUs, for a model that one cannot hold.
        trust_remote_code: Run code that the model's repository brings along.
        threads: Of torch; more than one is slow where other processes want the same cores.
        attention: ``eager``, ``sdpa`` or ``flash_attention_2``; ``auto`` takes what transformers
            would.
        base_url: Where ``openai:NAME`` is asked, up to ``/chat/completions``; empty for others.
        backend: Who samples: ``transformers``, or ``vllm`` by the weights of the same model.
        cache_gb: Memory for vLLM's keys and values, in 1e9 bytes; changes the speed alone.
        sleep: While nobody plays, vLLM gives its GPU's memory to training; does nothing on a CPU.
        concurrency: Requests to it at once, ``env.slots`` at most; changes the speed alone, and is
            not recorded.
    """

    name: str = MISSING
    revision: str = MISSING
    dtype: str = MISSING
    device: str = MISSING
    trust_remote_code: bool = MISSING
    threads: int = MISSING
    attention: str = "auto"
    base_url: str = ""
    backend: str = "transformers"
    cache_gb: float = 2.0
    sleep: bool = False
    concurrency: int = 8


@dataclass
class AgentConfig:
    """How the model is asked.

    Attributes:
        style: Name of the prompts; ``auto`` takes ``compact`` for the embedded model and the
            environment's own for any other.
        action_mode: ``choose`` among the admissible actions, or ``generate`` free text.
        context_mode: ``transcript``, the episode as one chat, or ``window``, one prompt a turn.
        history: Turns told in a window prompt.
        max_prompt_tokens: Of a window prompt.
        max_response_tokens: Of one free answer.
        max_context_tokens: After which a transcript ends; 0 takes what the model can read.
        thinking: Free text begins with thoughts; false turns them off by the switch that the chat
            template must have, as Qwen3's does.
    """

    style: str = MISSING
    action_mode: str = MISSING
    context_mode: str = MISSING
    history: int = MISSING
    max_prompt_tokens: int = MISSING
    max_response_tokens: int = MISSING
    max_context_tokens: int = MISSING
    thinking: bool = True


@dataclass
class AlgorithmConfig:
    """How turns are compared; see ``layerbench.rl.advantages``.

    Attributes:
        name: ``gigpo``, ``grpo`` or ``dr_grpo``; starts from ``conf/algorithm/NAME.yaml``.
        discount: Factor a turn in GiGPO's returns.
        step_weight: Of GiGPO's step advantages.
        statistics: ``per_trajectory`` (the paper's), or verl-agent's ``per_turn`` or
            ``per_first_turn``.
        normalisation: ``mean_std``, or ``mean``, as Dr. GRPO always does.
        std_eps: Added to a standard deviation before it divides.
        invalid_penalty: Taken off the reward of an invalid turn, after scaling.
        reward_scale: Factor on the environment's rewards.
        similarity: Texts at least this alike share an anchor group; 1 groups equal anchors only.
    """

    name: str = MISSING
    discount: float = MISSING
    step_weight: float = MISSING
    statistics: str = MISSING
    normalisation: str = MISSING
    std_eps: float = MISSING
    invalid_penalty: float = MISSING
    reward_scale: float = MISSING
    similarity: float = MISSING


@dataclass
class TrainConfig:
    """How the model learns.

    Attributes:
        iterations: Rounds of play, comparison and update.
        tasks: Length of the fixed list of training tasks.
        tasks_per_iteration: Groups an iteration.
        group_size: Episodes of one task.
        learning_rate: Where all parameters or all layers learn.
        layer_learning_rate: Where only some layers learn.
        warmup: Iterations over which the learning rate rises from 0.
        weight_decay: AdamW's.
        grad_clip: Largest norm of the gradient.
        epochs: Passes over one iteration's episodes.
        minibatches: Optimizer steps a pass.
        micro_batch_tokens: Tokens in memory at once; changes the speed, not the result.
        temperature: Of the sampling in training.
        checkpoint_every: Iterations between checkpoints.
        lr_scale: Multiplier of the learning rate by layer, ``10:1,15:2``, 1 for those not named;
            ``@RESULTS`` takes it from the contributions in an earlier sweep; empty for none.
        dynamic_sampling: Replace groups of equal scores by new ones (DAPO).
        clip_low: Largest fall of the importance ratio, as a share.
        clip_high: Largest rise of the importance ratio, as a share.
        dual_clip: Bound on the ratio where the advantage is negative.
        kl_coef: Weight of the distance to the base model.
        kl_kind: ``k1``, ``k2`` or ``k3``.
        entropy_coef: Weight of the entropy bonus.
        aggregation: ``grpo``, ``token_mean`` or ``dr_grpo``.
        max_tokens: What ``dr_grpo``'s aggregation divides a sequence's loss by.
        sequence_ratio: One importance ratio a sequence (GSPO).
        importance_cap: Bound of the weight that corrects for an engine which samples with other
            log-probabilities than the trainer's (truncated importance sampling); 0 corrects
            nothing.
        gradient_checkpointing: Compute what is inside a layer again for its gradients, instead of
            keeping it; changes memory and speed, not the result.
        lora_rank: Rank of the LoRA adapters that learn in the place of the selected layers'
            matrices; 0 lets the weights themselves learn. Needs the extra ``lora``.
        lora_learning_rate: Of the adapters; 0 takes that of whole weights.
    """

    iterations: int = MISSING
    tasks: int = MISSING
    tasks_per_iteration: int = MISSING
    group_size: int = MISSING
    learning_rate: float = MISSING
    layer_learning_rate: float = MISSING
    warmup: int = MISSING
    weight_decay: float = MISSING
    grad_clip: float = MISSING
    epochs: int = MISSING
    minibatches: int = MISSING
    micro_batch_tokens: int = MISSING
    temperature: float = MISSING
    checkpoint_every: int = MISSING
    dynamic_sampling: bool = MISSING
    clip_low: float = MISSING
    clip_high: float = MISSING
    dual_clip: float = MISSING
    kl_coef: float = MISSING
    kl_kind: str = MISSING
    entropy_coef: float = MISSING
    aggregation: str = MISSING
    max_tokens: int = MISSING
    sequence_ratio: bool = MISSING
    importance_cap: float = 0.0
    lr_scale: str = ""
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    lora_learning_rate: float = 0.0


@dataclass
class EvalConfig:
    """How a policy is scored.

    Attributes:
        tasks: Length of the fixed list of each split; 0 takes the whole split.
        episodes_per_task: Episodes of each task.
        temperature: Of the sampling; 0 is greedy.
        seed: Of the lists, the same for every run that is to be compared, and together with the
            run's own seed of the sampling.
        every: Iterations between evaluations during training; 0 for none.
    """

    tasks: int = MISSING
    episodes_per_task: int = MISSING
    temperature: float = MISSING
    seed: int = MISSING
    every: int = MISSING


@dataclass
class PartConfig:
    """A finished run whose layers a combined model has.

    Attributes:
        run: Its folder.
        checkpoint: Name of the checkpoint that holds its layers.
        layers: Decoder blocks that it trained, from 0.
        weights_sha256: Hash of the base model with these layers alone.
    """

    run: str = MISSING
    checkpoint: str = MISSING
    layers: list[int] = field(default_factory=list[int])
    weights_sha256: str = MISSING


@dataclass
class SourceConfig:
    """Which table of an earlier sweep a setting was read from; all empty if it was typed.

    Attributes:
        asked: What was typed for it, such as ``top:5@runs``.
        table: Name of the leaderboard's table.
        sha256: Hash of the file, or of the records behind the table.
        weights_sha256: Of the base model of that table.
    """

    asked: str = ""
    table: str = ""
    sha256: str = ""
    weights_sha256: str = ""


@dataclass
class SourcesConfig:
    """Where settings were read from; what was read stands in the settings themselves.

    Attributes:
        layers: Of ``layers``.
        lr_scale: Of ``train.lr_scale``.
    """

    layers: SourceConfig = field(default_factory=SourceConfig)
    lr_scale: SourceConfig = field(default_factory=SourceConfig)


@dataclass
class RunConfig:
    """One run.

    Attributes:
        env: What is played.
        model: What plays.
        agent: How the model is asked.
        algorithm: How turns are compared.
        train: How the model learns.
        eval: How a policy is scored.
        layers: Which layers learn: ``15``, ``10,15,20-23``, ``middle:10``, ``full``,
            ``all-layers`` or ``none``; ``top:5@RESULTS`` becomes the five that contributed most in
            an earlier sweep.
        seed: Of training: its list of tasks, its order and its sampling.
        preset: Where the settings started from.
        run_root: Folder that holds the run folders.
        parts: What a combined model is put together from; empty for every other run.
        read_from: Where settings were read from, if it was an earlier sweep.
    """

    env: EnvConfig = field(default_factory=EnvConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    layers: str = MISSING
    seed: int = MISSING
    preset: str = MISSING
    run_root: str = MISSING
    parts: list[PartConfig] = field(default_factory=list[PartConfig])
    read_from: SourcesConfig = field(default_factory=SourcesConfig)
