"""The settings of a run as dataclasses, each declared once; their default values are in ``conf/``.

A field has the setting's type, its range as metadata (``Annotated``) and its docstring. The
sections ``algorithm`` and ``train`` are declared in ``rl/settings.py``.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from layerbench.agents.types import ActionMode, AnswerForm, ContextMode
from layerbench.envs.answer_time import LONGEST_S
from layerbench.rl.settings import (
    MOST_EPISODES,
    AdvantageSettings,
    Range,
    StepsOrNone,
    Temperature,
    Tokens,
    TokensOrNone,
    TrainSettings,
)

MOST_TASKS = 100_000
"""Tasks that are listed for an evaluation."""

MOST_EVALUATED = 1_000_000
"""Episodes of all evaluations of a run; a record and its episodes can be read up to here."""

_PLAYED = "more would not be played in weeks"

# One word of numpy's SeedSequence: of two words, 2**32 would give the numbers of the path (0, 1).
SEED = Range(0, 2**32 - 1)
Seed = Annotated[int, SEED]

Style = Literal["auto", "chat", "compact", "compact-webshop", "file", "plain"]


# The sections here are not frozen, unlike other types: ``runs/resolve.py`` fills in settings that
# depend on others, and a sweep or a combination changes some of a composed run.
@dataclass
class EnvConfig:
    """The environment.

    Attributes:
        name: Name in the registry.
        origin: Where the environment is found if its name does not say it: ``module:NAME``, or the
            path of a file, perhaps with ``:NAME``; chosen by the argument ENV.
        train_split: Split of the tasks to train on.
        eval_splits: Splits of the tasks to score; each is scored and reported by itself.
        max_turns: Number of actions after which an episode is truncated.
        workers: Number of processes that step environments; 0 steps them in the main process, but
            one that is not layerbench's own always in a worker process.
        timeout_s: Longest time for such a process to answer, in seconds; one that takes longer is
            replaced, and its episodes are played again. 0 measures it: a hundred times the slowest
            answer so far, from 60 to 300.
        slots: Number of episodes played at once.
        options: The environment's own options, declared in its SPEC; on the command line
            ``env.NAME=`` is short for ``env.options.NAME=``.
    """

    name: str
    origin: str
    train_split: str
    eval_splits: list[str]
    max_turns: Annotated[int, Range(1, 10_000, because="no model remembers so many turns")]
    workers: Annotated[int, Range(0, 1024, because="each is a process")]
    timeout_s: Annotated[float, Range(0, 86_400, because="a day")]
    slots: Annotated[int, Range(1, MOST_EPISODES, because="each is an environment in memory")]
    options: dict[str, Any]

    @property
    def patience_s(self) -> float:
        """Longest time for the environment to answer what is asked before it is played."""
        return self.timeout_s or LONGEST_S

    @property
    def reference(self) -> str:
        """What finds the environment: see ``registry.find``."""
        return self.origin or self.name


@dataclass
class ModelConfig:
    """The language model that plays.

    Attributes:
        name: An embedded model (``embedded``, ``embedded-keydoor``, ``embedded-any``),
            ``smollm2-135m`` once it was fetched, a folder, a name on the Hugging Face Hub, the
            folder of a delta, or that of a run, which becomes its newest checkpoint: the run's
            base model with the trained layers. Or ``openai:NAME``, a model behind an endpoint.
        revision: Branch, tag or commit on the Hub; for a run or a delta, that of its base model.
        dtype: Type of the weights: ``float32``, ``bfloat16``, or ``auto``, which is float32 on a
            CPU and bfloat16 elsewhere.
        device: Device in torch's notation; ``auto`` is the first GPU if there is one, and ``split``
            spreads the layers over all GPUs, for a model that one cannot hold.
        trust_remote_code: Whether to run code from the model's repository.
        threads: Number of torch's threads; more than one is slow where cores are shared.
        processes: Number of processes that play and learn together on this machine's processor,
            each on a core of its own; no effect on GPUs, with vLLM and under torchrun.
        attention: Implementation of attention: ``eager``, ``sdpa`` or ``flash_attention_2``;
            ``auto`` leaves the choice to transformers.
        base_url: URL of the endpoint of ``openai:NAME``, without ``/chat/completions``; empty for
            other models.
        backend: Engine that samples: ``transformers``, or ``vllm`` with the weights of the same
            model.
        static_cache: Whether transformers writes free text into a cache of fixed size, a token of
            every episode by one CUDA graph; no effect on a CPU.
        cache_gb: Size of vLLM's KV cache in GB (1e9 bytes); affects speed only.
        sleep: Whether vLLM frees its GPU's memory between rollouts, for training; no effect on a
            CPU.
        concurrency: Number of simultaneous requests to an endpoint, ``env.slots`` at most; affects
            speed only, and is not recorded.
    """

    name: str
    revision: str
    dtype: Literal["auto", "float32", "bfloat16"]
    device: str
    trust_remote_code: bool
    threads: Annotated[int, Range(1, 1024, because="no machine has so many cores")]
    processes: Annotated[int, Range(1, 1024, because="no machine has so many cores")]
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"]
    base_url: str
    backend: Literal["transformers", "vllm"]
    static_cache: bool
    cache_gb: Annotated[float, Range(0, 10_000, low_excluded=True, because="no GPU has that")]
    sleep: bool
    concurrency: Annotated[int, Range(1, 64)]


@dataclass
class AgentConfig:
    """Prompts and responses.

    Attributes:
        style: The prompt style; ``auto`` is ``compact``, ``compact-webshop`` or ``plain`` for an
            embedded model that chooses, what the model's folder says it was taught in
            (``prompt_styles.json``, of ``layerbench pretrain``), and else ``chat``, with the
            environment's rules; ``file`` where there is a ``prompt_file``.
        prompt_file: A file with the words of the prompts, for a model that was trained on words of
            its own; empty for none. The record has its content.
        action_mode: Form of a response: ``choose`` among the admissible actions, or ``generate``
            free text.
        context_mode: Form of a prompt: ``transcript``, the episode as one chat, or ``window``, one
            prompt a turn.
        history: Maximum number of past turns in a window prompt.
        max_prompt_tokens: Maximum length of a window prompt, in tokens.
        max_response_tokens: Maximum length of a response in free text, in tokens.
        max_context_tokens: Maximum length of all that the model reads and writes in one sequence,
            in tokens; 0 is the model's own limit.
        thinking: Whether free text begins with thoughts; false needs a chat template with a switch
            for them, such as Qwen3's.
        date: Day that a chat template writes where it dates the chat, as Llama 3's and Granite's
            do: YYYY-MM-DD. An endpoint dates its chats itself.
        answer_form: Form of an action in free text: ``strict``, thoughts and one action and nothing
            around them, valid if it is admissible; or ``verl_agent``, read and counted as
            verl-agent does: in lower case, between the first tags wherever they stand, else the
            last 30 characters as an invalid action; an action that is not admissible is valid; or
            ``text``, the whole response, which the environment reads, as that of ``math`` does.
    """

    style: Style
    prompt_file: str
    action_mode: ActionMode
    context_mode: ContextMode
    history: Annotated[int, Range(0, 10_000, because="no episode has so many turns")]
    max_prompt_tokens: Tokens
    max_response_tokens: Tokens
    max_context_tokens: TokensOrNone
    thinking: bool
    date: str
    answer_form: AnswerForm


@dataclass
class EvalConfig:
    """The evaluations of a run.

    Attributes:
        tasks: Length of each split's fixed list of tasks; 0 is the whole split.
        episodes_per_task: Number of episodes of each task; one where they are greedy.
        temperatures: Sampling temperatures, 0 for greedy. Success and contributions are those of
            the first; the others show what the base model does without training if it is only
            made to decide more, or less, sharply.
        valid_tasks: Number of validation tasks, of the training split, that choose the best of the
            temperatures for the base and for what has learned; they are scored nowhere else, and
            not trained on where the split has enough others. 0 for none.
        seed: Seed of the task lists, equal in all runs that are to be compared; with the run's own
            seed, also that of the sampling.
        every: Number of iterations between evaluations during training, at the first temperature,
            on what is scored and on the validation tasks; the checkpoint with the highest success
            on these is kept and scored beside the last one, never instead. 0 for none.
        panel: Name of a fixed list of tasks with its protocol (``layerbench panels``), which sets
            what is scored; empty for none.
    """

    tasks: Annotated[int, Range(0, MOST_TASKS, because="no split has so many tasks")]
    episodes_per_task: Annotated[int, Range(1, MOST_EVALUATED, because=_PLAYED)]
    temperatures: list[Temperature]
    valid_tasks: Annotated[int, Range(0, MOST_TASKS, because="no split has so many tasks")]
    seed: Seed
    every: StepsOrNone
    panel: str


@dataclass
class PartConfig:
    """A finished run whose trained layers are part of a combined model.

    Attributes:
        run: Folder of the run.
        checkpoint: Name of its checkpoint that has the layers.
        layers: Indices of the decoder blocks that it trained, from 0.
        weights_sha256: SHA-256 of the weights of the base model with these layers alone.
    """

    run: str
    checkpoint: str
    layers: list[int]
    weights_sha256: str


@dataclass
class SourceConfig:
    """What a setting was read from, a leaderboard table or a file; all empty if it was typed.

    Attributes:
        asked: Value as typed, such as ``top:5@runs``, or the file.
        table: Name of the table; empty for a file of rates.
        sha256: SHA-256 of the file, or of the records behind the table.
        weights_sha256: SHA-256 of the weights of the base model that it is of.
    """

    # Defaults stand here, unlike those of other sections: no file in ``conf/`` has this one.
    asked: str = ""
    table: str = ""
    sha256: str = ""
    weights_sha256: str = ""


@dataclass
class SourcesConfig:
    """The sources of settings that were read from an earlier sweep, or from tuning.

    Attributes:
        layers: Source of ``layers``.
        lr_scale: Source of ``train.lr_scale``.
        rates: The file that a sweep took its rates from, by ``layerbench sweep --rates FILE``:
            ``train.learning_rate``, ``train.schedule``, and of a single layer ``train.lr_scale``.
    """

    layers: SourceConfig = field(default_factory=SourceConfig)
    lr_scale: SourceConfig = field(default_factory=SourceConfig)
    rates: SourceConfig = field(default_factory=SourceConfig)


@dataclass
class PromptConfig:
    """The content of ``agent.prompt_file``; empty without one.

    Attributes:
        sha256: SHA-256 of the file.
        lines: Lines of the file.
    """

    # Defaults stand here, as in ``SourceConfig``.
    sha256: str = ""
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The whole content."""
        return "\n".join(self.lines)


@dataclass
class RunConfig:
    """All settings of a run.

    Attributes:
        env: The environment.
        model: The language model that plays.
        agent: Prompts and responses.
        algorithm: The advantage of each turn.
        train: Optimization and rollouts.
        eval: The evaluations.
        layers: Selection of the layers to train: ``15``, ``10,15,20-23``, ``middle:10``,
            ``random:3:0`` (three, drawn with the seed 0), ``full``, ``all-layers`` or ``none``;
            ``scale`` or ``norm`` for a floor control;
            ``top:5@RESULTS`` and ``bottom:5@RESULTS`` become the five layers of the largest or
            smallest contribution in an earlier sweep, ``boost:5@RESULTS`` becomes ``full`` with
            twice the rate for the five of the largest.
        seed: Seed of training: its list of tasks, its order and its sampling.
        preset: Name of the preset that gave the defaults.
        run_root: Folder that holds the run folders.
        track: Trackers that the metrics are sent to as well: ``trackio``, ``wandb``,
            ``tensorboard``, ``mlflow``; not recorded, since it changes nothing of the run.
        parts: Runs whose layers a combined model has; empty for every other run.
        read_from: Sources of the settings that were read from an earlier sweep.
        prompt: Content of the prompt file.
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
    track: list[str]
    parts: list[PartConfig]
    read_from: SourcesConfig
    prompt: PromptConfig
