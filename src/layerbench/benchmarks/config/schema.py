"""The settings of a run as dataclasses, each declared once; their values are in ``conf/``.

A field has the setting's type, its range as metadata (``Annotated``) and its docstring; nothing
here has a value that a run could use. Those of learning are declared in ``rl/settings.py``.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from layerbench.agents.types import ActionMode, ContextMode
from layerbench.rl.settings import (
    AdvantageSettings,
    AtLeastOne,
    Count,
    NotNegative,
    Positive,
    Range,
    TrainSettings,
)

Seed = Annotated[int, Range(0, 2**32 - 1)]


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

    name: str
    train_split: str
    eval_splits: list[str]
    max_turns: AtLeastOne
    workers: Count
    slots: AtLeastOne
    options: dict[str, Any]


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

    name: str
    revision: str
    dtype: Literal["auto", "float32", "bfloat16"]
    device: str
    trust_remote_code: bool
    threads: AtLeastOne
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"]
    base_url: str
    backend: Literal["transformers", "vllm"]
    cache_gb: Positive
    sleep: bool
    concurrency: Annotated[int, Range(1, 64)]


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

    style: str
    action_mode: ActionMode
    context_mode: ContextMode
    history: Count
    max_prompt_tokens: AtLeastOne
    max_response_tokens: AtLeastOne
    max_context_tokens: Count
    thinking: bool


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

    tasks: Count
    episodes_per_task: AtLeastOne
    temperature: NotNegative
    seed: Seed
    every: Count


@dataclass
class PartConfig:
    """A finished run whose layers a combined model has.

    Attributes:
        run: Its folder.
        checkpoint: Name of the checkpoint that holds its layers.
        layers: Decoder blocks that it trained, from 0.
        weights_sha256: Hash of the base model with these layers alone.
    """

    run: str
    checkpoint: str
    layers: list[int]
    weights_sha256: str


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

    env: EnvConfig
    model: ModelConfig
    agent: AgentConfig
    algorithm: AdvantageSettings
    train: TrainSettings
    eval: EvalConfig
    layers: str
    seed: Seed
    preset: str
    run_root: str
    parts: list[PartConfig]
    read_from: SourcesConfig
