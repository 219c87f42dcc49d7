"""Keeping the weights of an engine those of a live model, by sending only what changed."""

import re
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from layerbench.agents.backends.vllm.engine import Engine, EngineError, Request

TOLERANCE = {torch.float32: 1e-3}
"""Largest difference (nats) of the probe's log-probabilities that rounding explains, by dtype."""

_COARSE_TOLERANCE = 0.3
_PROBE_TOKENS = 24
_PROBE_CHOICES = 8
# vLLM keeps several matrices of a block as one, so that a block is sent as a whole.
_BLOCK = re.compile(r"(.*?\.\d+)\.")


class WeightSync:
    """Sends what changed in a model to an engine, and proves that they agree.

    Changes are seen by the counters that torch keeps of changes in place. If something gets past
    them, the probe at the next change will tell.

    Attributes:
        difference: Largest difference (nats) at the last probe; None before the first.

    Args:
        model: What is live.
        engine: Has the shape of the model; nothing is sent to it before it is brought in step.
    """

    def __init__(self, model: nn.Module, engine: Engine) -> None:
        self.difference: float | None = None
        self._model = model
        self._engine = engine
        self._sent: dict[str, tuple[int, int]] = {}
        self._probe = _spread(_PROBE_TOKENS, _vocabulary(model))
        self._choices = sorted(set(_spread(_PROBE_CHOICES, _vocabulary(model))))

    def bring_in_step(self) -> list[str]:
        """Send what changed since it was last sent, all of it at first, and probe if anything did.

        To be called while the engine has nothing to do.

        Returns:
            Names of what was sent.

        Raises:
            EngineError: The engine refuses the weights, or does not agree with the model after.
        """
        now = {name: _version(tensor) for name, tensor in self._weights()}
        blocks = {_block(name) for name in now if self._sent.get(name) != now[name]}
        if not blocks:
            return []
        sent = [name for name in now if _block(name) in blocks]
        self._engine.load((n, t) for n, t in self._weights() if _block(n) in blocks)
        self._engine.forget()
        self._sent = now
        self._compare()
        return sent

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """List all parameters, one that has two names by both of them."""
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            yield name, parameter.detach()

    def _compare(self) -> None:
        """Let engine and model score the same few tokens after a fixed prompt."""
        ours, theirs = self._our_logprobs(), self._their_logprobs()
        self.difference = max(abs(ours[token] - theirs[token]) for token in self._choices)
        dtype = next(self._model.parameters()).dtype
        most = TOLERANCE.get(dtype, _COARSE_TOLERANCE)
        # Not the other way round, which would let NaN pass.
        if not self.difference <= most:
            raise EngineError(
                f"vLLM and the model disagree after weights were sent: log-probabilities of a "
                f"fixed prompt differ by {self.difference:.3g} (at most {most:g} in {dtype}); "
                "take model.backend=transformers"
            )

    @torch.no_grad()
    def _our_logprobs(self) -> dict[int, float]:
        device = next(self._model.parameters()).device
        training = self._model.training
        self._model.eval()
        logits = cast(Any, self._model)(
            input_ids=torch.tensor([self._probe], device=device), use_cache=False
        ).logits[0, -1, self._choices]
        self._model.train(training)
        return dict(zip(self._choices, logits.double().log_softmax(-1).tolist(), strict=True))

    def _their_logprobs(self) -> dict[int, float]:
        self._engine.add(Request("probe", self._probe, self._choices))
        while True:
            for completion in self._engine.step():
                return completion.logprobs[0]


def _version(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor._version  # pyright: ignore[reportPrivateUsage]


def _block(name: str) -> str:
    found = _BLOCK.match(name)
    return found.group(1) if found else name


def _vocabulary(model: nn.Module) -> int:
    return int(cast(Any, model).config.get_text_config(decoder=True).vocab_size)


def _spread(count: int, vocabulary: int) -> list[int]:
    """Name tokens from all over the vocabulary."""
    return [(1 + place * vocabulary // count) % vocabulary for place in range(count)]
