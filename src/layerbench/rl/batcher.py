"""From sequences to batches: how they are cut, padded or packed, and begun above what is frozen.

Shape suffixes: B rows, S tokens that are read, H hidden size.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from layerbench.rl.batching import PASS_TOKENS, TrainingSequence, collate, micro_batches
from layerbench.rl.frozen_prefix import FrozenPrefix
from layerbench.rl.tensors import TrainingBatch


class Batcher:
    """Makes batches of sequences, with the states that enter the lowest selected block.

    Args:
        prefix: The frozen blocks; None leaves the states out.
        keeps: Keep the states that a sequence's first batch has computed for its later ones; else
            only those from play are of use.
        packs: Pack sequences instead of padding them.
    """

    def __init__(
        self, prefix: FrozenPrefix | None, *, keeps: bool = False, packs: bool = False
    ) -> None:
        self._prefix = prefix
        self._keeps = keeps
        self._packs = packs
        self._kept: dict[int, Tensor] = {}
        self._stamp = None if prefix is None else prefix.stamp

    def batches(
        self, sequences: Sequence[TrainingSequence], *, max_tokens: int, device: torch.device
    ) -> Iterator[tuple[list[int], TrainingBatch]]:
        """Cut sequences into batches of at most so many tokens, each beside their indices."""
        lengths = [len(sequence.token_ids_T) for sequence in sequences]
        # What a pass costs on a GPU is not measured: as few as can be, as each launches kernels.
        pass_tokens = PASS_TOKENS if device.type == "cpu" else None
        for indices in micro_batches(
            lengths, max_tokens=max_tokens, pass_tokens=pass_tokens, packed=self._packs
        ):
            yield indices, self.collate([sequences[index] for index in indices], device=device)

    def collate(
        self, sequences: Sequence[TrainingSequence], *, device: torch.device
    ) -> TrainingBatch:
        """Make one batch of sequences, with the states that enter the lowest selected block."""
        batch = collate(sequences, device=device, packed=self._packs)
        if self._prefix is None:
            return batch
        read_lengths = [sequence.read_length for sequence in sequences]
        states = self._known(sequences)
        if states is None:
            states_BSH = self._prefix.states(
                batch.token_ids_BT[:, : int(batch.positions_D.max())],
                packed_lengths_N=batch.packed_lengths_N,
            )
            if self._keeps:
                parts = torch.split(states_BSH[0], read_lengths) if batch.is_packed else states_BSH
                for states_SH, sequence in zip(parts, sequences, strict=True):
                    kept_SH = states_SH[: sequence.read_length].clone()
                    self._kept[id(sequence.token_ids_T)] = kept_SH
        else:
            states = [s[:n].to(device) for s, n in zip(states, read_lengths, strict=True)]
            states_BSH = (
                torch.cat(states)[None]
                if batch.is_packed
                else pad_sequence(states, batch_first=True)
            )
        return dataclasses.replace(batch, states_BSH=states_BSH)

    def _known(self, sequences: Sequence[TrainingSequence]) -> list[Tensor] | None:
        """Find the states of all sequences; None where one of them has none, or a stale one."""
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
        return found
