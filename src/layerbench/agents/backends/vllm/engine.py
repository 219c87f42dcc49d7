"""vLLM's engine, run in this process, as far as the backend needs it."""

import contextlib
import copy
import importlib
import math
import os
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from layerbench.errors import UserError
from layerbench.optional_packages import is_installed

# Live tensors can be handed to an engine in this process only. Disable usage reporting, and log
# errors only.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_LOGGING_STREAM": "ext://sys.stderr"}
# Tokens of a block of the prefix cache, found again as a whole: many prompts are shorter than the
# 128 that vLLM takes on a CPU.
_CPU_BLOCK_SIZE = 32
_CPU_HEAD_SIZE = 32
_MIN_GPU_SHARE = 0.01
_BYTES_PER_GB = 1_000_000_000


class EngineError(Exception):
    """The engine refuses a call, or disagrees with the model."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine is set up.

    Attributes:
        max_context_tokens: Maximum length of a sequence, prompt and response together.
        cache_gb: Memory for keys and values, in 1e9 bytes.
        sleeps: Free the GPU's memory between rollouts.
    """

    max_context_tokens: int
    cache_gb: float
    sleeps: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt to continue, by one token or by free text.

    Attributes:
        name: Name that no other pending request has.
        prompt_ids: The prompt; at least one token.
        allowed_ids: Ids that one token is sampled from, at temperature 1, with the
            log-probabilities of all of them; empty asks for free text.
        max_tokens: Length at which free text is cut off.
        end_ids: Tokens that end free text.
        temperature: Temperature of free text.
        seed: Seed of free text, below 2**63.
    """

    name: str
    prompt_ids: Sequence[int]
    allowed_ids: Sequence[int] = ()
    max_tokens: int = 1
    end_ids: Sequence[int] = ()
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """The sampled tokens of a request.

    Attributes:
        name: The request's name.
        token_ids: The tokens, with the end token unless they were cut off.
        logprobs: For each token, log-probabilities (nats) by id: its own, and those of all
            ``allowed_ids`` if the request has any.
        cached_tokens: Number of the prompt's tokens found in the prefix cache.
    """

    name: str
    token_ids: tuple[int, ...]
    logprobs: tuple[dict[int, float], ...]
    cached_tokens: int


def require() -> None:
    """Check that vLLM is installed, without the seconds that its import takes.

    Raises:
        UserError: It is not installed.
    """
    if not is_installed("vllm"):
        raise UserError("the backend vllm needs vllm: pip install 'layerbench[vllm]'")


class Engine:
    """An engine of vLLM for models of one shape; its weights are random until ``load``.

    Args:
        model: A model of the shape and dtype to run.
        settings: How the engine is set up.

    Raises:
        UserError: vLLM is not installed, or cannot run such a model here.
    """

    def __init__(self, model: nn.Module, settings: EngineSettings) -> None:
        require()
        os.environ.update(_ENVIRONMENT)
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        self.settings = settings
        try:
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                # vLLM's import warns of many deprecated names.
                warnings.simplefilter("ignore")
                self._vllm: Any = importlib.import_module("vllm")
                platforms: Any = importlib.import_module("vllm.platforms")
                self._on_cpu = bool(platforms.current_platform.is_cpu())
                self._check(model)
                _save_shape(model, Path(folder))
                self._engine: Any = self._start(folder, _dtype(model))
        except (ImportError, OSError, RuntimeError, ValueError, NotImplementedError) as problem:
            raise UserError(
                f"vLLM cannot run {type(model).__name__}: {_line(problem)}"
            ) from problem

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Load weights by their names in transformers; the others stay as they are.

        Matrices that vLLM fuses (queries, keys and values; gate and up) must come together.

        Raises:
            EngineError: vLLM does not know such weights.
        """
        self._rpc("reload_weights", weights_iterator=iter(weights), is_checkpoint_format=True)

    def forget(self) -> None:
        """Empty the prefix cache.

        Raises:
            EngineError: Requests are pending.
        """
        if not self._engine.reset_prefix_cache():
            raise EngineError("vLLM keeps its prefix cache while requests are under way")

    def add(self, request: Request) -> None:
        """Queue a request.

        Raises:
            UserError: vLLM refuses it.
        """
        free_text: dict[str, Any] = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.seed,
            "logprobs": 0,
            "stop_token_ids": list(request.end_ids),
        }
        one_token: dict[str, Any] = {
            "max_tokens": 1,
            "logprobs": len(request.allowed_ids),
            "allowed_token_ids": list(request.allowed_ids),
        }
        # `end_ids` alone end free text, and not what vLLM finds in the model's configuration.
        params = self._vllm.SamplingParams(
            **(one_token if request.allowed_ids else free_text), detokenize=False, ignore_eos=True
        )
        self._engine.add_request(
            request.name, {"prompt_token_ids": list(request.prompt_ids)}, params
        )

    def step(self) -> list[Completion]:
        """Advance all requests by one forward pass, and return those that are complete."""
        with self._without_compilation():
            outputs = self._engine.step()
        return [_completion(output) for output in outputs if output.finished]

    def abort(self, names: Sequence[str]) -> None:
        """Drop pending requests."""
        if names:
            self._engine.abort_request(list(names))

    def sleep(self) -> None:
        """On a GPU, move the weights to the host's memory and drop keys and values."""
        if self.settings.sleeps and not self._on_cpu:
            self._engine.sleep(level=1)

    def wake(self) -> None:
        """Undo ``sleep``."""
        if self.settings.sleeps and not self._on_cpu and self._engine.is_sleeping():
            self._engine.wake_up()

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self._engine.engine_core.shutdown()

    def _check(self, model: nn.Module) -> None:
        """Refuse early what vLLM would refuse later, or in terms of its own settings."""
        config: Any = cast(Any, model).config.get_text_config(decoder=True)
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        if self._on_cpu and size < _CPU_HEAD_SIZE:
            raise UserError(
                f"on a CPU it needs attention heads of {_CPU_HEAD_SIZE} and more, these have {size}"
            )
        key_value_heads = getattr(config, "num_key_value_heads", None) or heads
        # Keys and values, hence 2.
        numbers_per_token = 2 * key_value_heads * config.num_hidden_layers * size
        tokens = self.settings.max_context_tokens
        element_size = next(model.parameters()).element_size()
        needed_gb = tokens * numbers_per_token * element_size / _BYTES_PER_GB
        if needed_gb > self.settings.cache_gb:
            raise UserError(
                f"keys and values of a context of {tokens} tokens take {needed_gb:.2g} GB, but "
                f"model.cache_gb is {self.settings.cache_gb:g}: raise it, or lower "
                "agent.max_context_tokens"
            )

    def _start(self, folder: str, dtype: str) -> Any:  # noqa: ANN401
        arguments: dict[str, Any] = {
            "model": folder,
            "skip_tokenizer_init": True,
            "load_format": "dummy",
            "generation_config": "vllm",
            "dtype": dtype,
            "max_model_len": self.settings.max_context_tokens,
            "kv_cache_memory_bytes": math.ceil(self.settings.cache_gb * _BYTES_PER_GB),
            "enable_prefix_caching": True,
            "logprobs_mode": "processed_logprobs",
            # No limit: a request may want the log-probabilities of all its allowed ids.
            "max_logprobs": -1,
            "seed": 0,
            "disable_log_stats": True,
        }
        if self._on_cpu:
            # Compiling takes minutes for each shape.
            arguments |= {"enforce_eager": True, "block_size": _CPU_BLOCK_SIZE}
        else:
            # vLLM refuses to start unless this share of the GPU is free; a trainer may be on the
            # same GPU, and the cache has its own setting.
            arguments |= {
                "enable_sleep_mode": self.settings.sleeps,
                "gpu_memory_utilization": _MIN_GPU_SHARE,
            }
        return self._vllm.LLMEngine.from_engine_args(self._vllm.EngineArgs(**arguments))

    def _rpc(self, method: str, **kwargs: object) -> None:
        try:
            self._engine.collective_rpc(method, kwargs=kwargs)
        except (KeyError, ValueError, RuntimeError) as problem:
            raise EngineError(f"vLLM refuses weights ({method}): {_line(problem)}") from problem

    def _without_compilation(self) -> contextlib.AbstractContextManager[Any]:
        """Keep torch from compiling vLLM's sampler on a CPU, which takes half a minute."""
        if self._on_cpu:
            return cast(Any, torch.compiler).set_stance("force_eager")
        return contextlib.nullcontext()


def _save_shape(model: nn.Module, folder: Path) -> None:
    """Save a model's configuration, with the head apart from the embeddings."""
    config = copy.deepcopy(cast(Any, model).config)
    config.architectures = [type(model).__name__]
    # On a CPU vLLM keeps a converted copy of the head, which does not follow the embeddings.
    config.tie_word_embeddings = False
    config.save_pretrained(folder)


def _dtype(model: nn.Module) -> str:
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def _completion(output: Any) -> Completion:  # noqa: ANN401
    sampled = output.outputs[0]
    return Completion(
        name=str(output.request_id),
        token_ids=tuple(sampled.token_ids),
        logprobs=tuple(
            {int(token): float(entry.logprob) for token, entry in position.items()}
            for position in sampled.logprobs
        ),
        cached_tokens=output.num_cached_tokens or 0,
    )


def _line(problem: Exception) -> str:
    return str(problem).strip().partition("\n")[0][:300] or type(problem).__name__
