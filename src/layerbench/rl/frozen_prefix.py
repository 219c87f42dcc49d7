"""The blocks below the lowest one that learns: what they compute is the same in every pass.

Their weights and the embeddings are frozen, so the hidden states that they hand up to the lowest
selected block depend on the tokens alone. A pass that is given these states begins there.

Shape suffixes: B rows, N sequences, S tokens that are read, H hidden size.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from layerbench.rl.batching import Stamp
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.packed_sequences import read
from layerbench.rl.types import LayerSelection


class _Reached(Exception):
    """The states that enter the lowest selected block are there."""

    def __init__(self, states_BSH: Tensor) -> None:
        super().__init__()
        self.states_BSH = states_BSH


class FrozenPrefix:
    """The frozen blocks at the bottom of a model.

    Args:
        model: A causal language model.
        depth: Number of its blocks, from the embedding, that are frozen; at least 1.
        frozen: All weights that the states could depend on.
    """

    def __init__(self, model: nn.Module, *, depth: int, frozen: Iterable[nn.Parameter]) -> None:
        self._model = model
        self._blocks: list[Any] = list(decoder_blocks(model))[:depth]
        self._frozen = tuple(frozen)

    @property
    def depth(self) -> int:
        """Number of frozen blocks."""
        return len(self._blocks)

    @property
    def stamp(self) -> Stamp:
        """Tells whether the frozen weights are what they were: states of another one are stale."""
        return tuple((p.data_ptr(), p._version) for p in self._frozen)  # pyright: ignore[reportPrivateUsage]

    def fits(self, tokens: int, *, megabytes: int | float) -> bool:
        """Tell whether the states of this many tokens take no more than this memory (1e6 bytes)."""
        config: Any = self._model.config
        hidden_size: int = config.get_text_config(decoder=True).hidden_size
        return tokens * hidden_size * self._frozen[0].dtype.itemsize <= megabytes * 1_000_000

    @torch.no_grad()
    def states(
        self,
        token_ids_BS: Int[Tensor, "B S"],
        *,
        packed_lengths_N: Int[Tensor, " N"] | None = None,
    ) -> Float[Tensor, "B S H"]:
        """Run the frozen blocks alone, and give what they hand up.

        Args:
            token_ids_BS: Tokens to read.
            packed_lengths_N: As of ``packed_sequences.read``.

        Raises:
            TypeError: They hand up something else than states.
        """

        def stop(_module: nn.Module, _arguments: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"a block gives {type(output).__name__}, not states")
            raise _Reached(output)

        handle = self._blocks[-1].register_forward_hook(stop)
        try:
            read(self._model, token_ids_BS, packed_lengths_N=packed_lengths_N)
        except _Reached as reached:
            return reached.states_BSH
        finally:
            handle.remove()
        raise AssertionError("the model has not run its blocks")

    @contextmanager
    def given(self, states_BSH: Float[Tensor, "B S H"]) -> Generator[None]:
        """Let forward passes in this context begin with these states above the frozen blocks."""

        def hand_up(*_arguments: object, **_options: object) -> Tensor:
            return states_BSH

        replaced = [block.__dict__.get("forward") for block in self._blocks]
        for block in self._blocks:
            block.forward = hand_up
        try:
            yield
        finally:
            for block, forward in zip(self._blocks, replaced, strict=True):
                del block.forward
                if forward is not None:
                    block.forward = forward


def find_prefix(
    model: nn.Module,
    selection: LayerSelection,
    *,
    changed: Iterable[nn.Parameter],
    learning: nn.Module | None = None,
) -> FrozenPrefix | None:
    """Find the frozen blocks below a selection; None where there are none.

    None too for a model whose passes do not come out the same when they begin above these blocks.

    Args:
        model: The model that plays.
        selection: The layers that learn.
        changed: Its parameters that learning changes.
        learning: The model that learns, if it is another: see ``rl.lora``.
    """
    lowest = selection.num_layers if selection.is_control else min(selection.layers, default=0)
    if selection.everything or not lowest:
        return None
    ids = set(map(id, changed))
    frozen = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    prefix = FrozenPrefix(learning or model, depth=lowest, frozen=frozen)
    return prefix if _is_exact(prefix, learning or model) else None


@torch.no_grad()
def _is_exact(prefix: FrozenPrefix, model: nn.Module) -> bool:
    """Tell whether a pass of a few tokens comes out bit for bit as without the prefix's states."""
    token_ids_BS = torch.tensor([[0, 1, 1]], device=next(model.parameters()).device)
    plain_BSH = read(model, token_ids_BS)
    try:
        with prefix.given(prefix.states(token_ids_BS)):
            reused_BSH = read(model, token_ids_BS)
    # A model's code may need what the blocks left out would have noted beside their states.
    except Exception:  # noqa: BLE001
        return False
    return torch.equal(plain_BSH, reused_BSH)
