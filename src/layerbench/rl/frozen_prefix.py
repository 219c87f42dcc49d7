"""The blocks below the lowest one that learns: what they compute is the same in every pass.

Their weights and the embeddings are frozen, so the hidden states that they hand up to the lowest
selected block depend on the tokens alone. A pass that is given these states begins there.

Shape suffixes: B sequences, S tokens that are read, T tokens of a sequence, H hidden size.
"""

import dataclasses
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from layerbench.rl.batching import Stamp, TrainingSequence, collate
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.tensors import TrainingBatch
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
    def states(self, token_ids_BS: Int[Tensor, "B S"]) -> Float[Tensor, "B S H"]:
        """Run the frozen blocks alone, and give what they hand up.

        Raises:
            TypeError: They hand up something else than states.
        """

        def stop(_module: nn.Module, _arguments: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"a block gives {type(output).__name__}, not states")
            raise _Reached(output)

        handle = self._blocks[-1].register_forward_hook(stop)
        try:
            cast(Any, self._model).base_model(input_ids=token_ids_BS, use_cache=False)
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
    body: Any = model.base_model
    token_ids_BS = torch.tensor([[0, 1, 1]], device=next(model.parameters()).device)
    plain_BSH = body(input_ids=token_ids_BS, use_cache=False).last_hidden_state
    try:
        with prefix.given(prefix.states(token_ids_BS)):
            reused_BSH = body(input_ids=token_ids_BS, use_cache=False).last_hidden_state
    # A model's code may need what the blocks left out would have noted beside their states.
    except Exception:  # noqa: BLE001
        return False
    return torch.equal(plain_BSH, reused_BSH)


class PrefixStates:
    """The states of sequences that are read more than once, each computed by its first pass.

    Args:
        prefix: The frozen blocks; None computes nothing here.
        keeps: Keep what was computed; else only states from play are of use.
    """

    def __init__(self, prefix: FrozenPrefix | None, *, keeps: bool) -> None:
        self._prefix = prefix
        self._keeps = keeps
        self._kept: dict[int, Tensor] = {}
        self._stamp = None if prefix is None else prefix.stamp

    def collate(
        self, sequences: Sequence[TrainingSequence], *, device: torch.device
    ) -> TrainingBatch:
        """Pad sequences to one batch, with the states that enter the lowest selected block."""
        batch = collate(sequences, device=device)
        if self._prefix is None:
            return batch
        # The last decided token predicts no other: it need not be read.
        read = int(batch.positions_D.max())
        states_BSH = self._known(sequences, read, device)
        if states_BSH is None:
            states_BSH = self._prefix.states(batch.token_ids_BT[:, :read])
            if self._keeps:
                for row, sequence in enumerate(sequences):
                    length = int(sequence.positions_D[-1])
                    self._kept[id(sequence.token_ids_T)] = states_BSH[row, :length].clone()
        return dataclasses.replace(batch, states_BSH=states_BSH)

    def _known(
        self, sequences: Sequence[TrainingSequence], read: int, device: torch.device
    ) -> Tensor | None:
        """Join the states of all sequences; None where one of them has none, or a stale one."""
        assert self._prefix is not None
        stamp = self._prefix.stamp
        if stamp != self._stamp:
            self._kept, self._stamp = {}, stamp
        found: list[Tensor] = []
        for sequence in sequences:
            played = sequence.played_states
            states = self._kept.get(id(sequence.token_ids_T))
            if states is None and played is not None and played.stamp == stamp:
                states = played.states_SH
            if states is None:
                return None
            found.append(states)
        states_BSH = found[0].new_zeros((len(found), read, found[0].shape[-1]), device=device)
        for row, (states, sequence) in enumerate(zip(found, sequences, strict=True)):
            length = int(sequence.positions_D[-1])
            states_BSH[row, :length] = states[:length]
        return states_BSH
