"""Weight synchronisation: sends what changed in a live model to an engine."""

import re
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from layerbench.agents.backends.vllm.engine import Engine, EngineError, Request

TOLERANCE = {torch.float32: 1e-3}
"""Largest difference (nats) of the probe's log-probabilities due to rounding, by dtype."""

_COARSE_TOLERANCE = 0.3
_PROBE_TOKENS = 24
_PROBE_CHOICES = 8
# vLLM fuses matrices of a block, which it loads together only: blocks are sent as a whole.
_BLOCK = re.compile(r"(.*?\.\d+)\.")


class WeightSync:
    """Sends changed weights to an engine, and checks that it agrees with the model.

    Changes are detected by torch's counters of changes in place. One that bypasses them shows in
    the probe after the next detected change.

    Attributes:
        difference: Largest difference (nats) at the last probe; None before the first.

    Args:
        model: The live model.
        engine: An engine for the model's shape; nothing is sent to it before ``send_changes``.
    """

    def __init__(self, model: nn.Module, engine: Engine) -> None:
        self.difference: float | None = None
        self._model = model
        self._engine = engine
        self._sent: dict[str, tuple[int, int]] = {}
        self._probe = _spread(_PROBE_TOKENS, _vocabulary(model))
        self._choices = sorted(set(_spread(_PROBE_CHOICES, _vocabulary(model))))

    def send_changes(self) -> list[str]:
        """Send the weights that changed since the last call, at first all, and probe if any did.

        To be called while the engine has no requests.

        Returns:
            Names of the weights sent.

        Raises:
            EngineError: The engine refuses the weights, or does not agree with the model after.
        """
        versions = {name: _version(tensor) for name, tensor in self._weights()}
        blocks = {_block(name) for name in versions if self._sent.get(name) != versions[name]}
        if not blocks:
            return []
        sent = [name for name in versions if _block(name) in blocks]
        self._engine.load((n, t) for n, t in self._weights() if _block(n) in blocks)
        # Prefixes cached with the old weights put SmolLM2's log-probabilities off by 0.05 to 0.11,
        # about as far as if nothing had been sent: docs/LOG.md, 2026-11-27.
        self._engine.forget()
        # Only after the engine took them: weights that it refused are sent again by the next call.
        self._sent = versions
        self._compare()
        return sent

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """List all parameters; a tied one under both its names."""
        # Both, since the engine's head is apart from its embeddings: see ``engine._save_shape``.
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            yield name, parameter.detach()

    def _compare(self) -> None:
        """Let engine and model score the same few ids after a fixed prompt."""
        expected, actual = self._model_logprobs(), self._engine_logprobs()
        self.difference = max(abs(expected[token] - actual[token]) for token in self._choices)
        dtype = next(self._model.parameters()).dtype
        tolerance = TOLERANCE.get(dtype, _COARSE_TOLERANCE)
        # Not `difference > tolerance`, which would let NaN pass.
        if not self.difference <= tolerance:
            raise EngineError(
                f"vLLM and the model disagree after weights were sent: log-probabilities of a "
                f"fixed prompt differ by {self.difference:.3g} (at most {tolerance:g} in {dtype}); "
                "take model.backend=transformers"
            )

    @torch.no_grad()
    def _model_logprobs(self) -> dict[int, float]:
        device = next(self._model.parameters()).device
        training = self._model.training
        self._model.eval()
        logits = cast(Any, self._model)(
            input_ids=torch.tensor([self._probe], device=device), use_cache=False
        ).logits[0, -1, self._choices]
        self._model.train(training)
        return dict(zip(self._choices, logits.double().log_softmax(-1).tolist(), strict=True))

    def _engine_logprobs(self) -> dict[int, float]:
        self._engine.add(Request("probe", self._probe, self._choices))
        while True:
            for completion in self._engine.step():
                return completion.logprobs[0]


def _version(tensor: Tensor) -> tuple[int, int]:
    # The address as well: a tensor that is replaced starts its counter again.
    return tensor.data_ptr(), tensor._version  # pyright: ignore[reportPrivateUsage]


def _block(name: str) -> str:
    match = _BLOCK.match(name)
    return match.group(1) if match else name


def _vocabulary(model: nn.Module) -> int:
    return int(cast(Any, model).config.get_text_config(decoder=True).vocab_size)


def _spread(count: int, vocabulary: int) -> list[int]:
    """List ids from all over the vocabulary."""
    return [(1 + index * vocabulary // count) % vocabulary for index in range(count)]
