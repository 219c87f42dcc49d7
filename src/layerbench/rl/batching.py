"""Trajectories and their advantages to sequences, and sequences to padded or packed batches.

Shape suffixes: B rows, N sequences, T tokens of a row, S tokens of it that are read, H hidden size,
D decisions (sampled, not forced, tokens of all sequences), K tokens a decision was chosen from.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from layerbench.agents.types import ContextMode, Response, Trajectory
from layerbench.rl.tensors import TrainingBatch
from layerbench.rl.types import Advantages, Group

Stamp: TypeAlias = tuple[tuple[int, int], ...]
"""Where frozen weights lie, and how often they were written to."""


@dataclass(frozen=True, slots=True)
class PlayedStates:
    """Hidden states that enter a block, as they were computed while an episode was played.

    Attributes:
        states_SH: The states.
        stamp: Tells the weights of the blocks below.
    """

    states_SH: Float[Tensor, "S H"]
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """Tokens that the model reads in one pass, and the decisions in them.

    Attributes:
        token_ids_T: Ids of the tokens, up to the last decided one.
        positions_D: Position of each decided token, at least 1, ascending.
        allowed: Ids that each decision was chosen from, ascending; all empty if the whole
            vocabulary was open.
        old_logprobs_D: Log-probability (nats) under the policy that sampled the decision.
        advantages_D: Advantage of the decision's turn.
        played_states: States that enter the lowest block that learns, of all tokens before the last
            decided one; None where play kept none.
    """

    token_ids_T: Int[np.ndarray, " T"]
    positions_D: Int[np.ndarray, " D"]
    allowed: tuple[tuple[int, ...], ...]
    old_logprobs_D: Float[np.ndarray, " D"]
    advantages_D: Float[np.ndarray, " D"]
    played_states: PlayedStates | None = None

    @property
    def read_length(self) -> int:
        """Number of tokens that decisions rest on: the last decided one predicts no other."""
        return int(self.positions_D[-1])

    @property
    def has_advantage(self) -> bool:
        """Whether an advantage is not 0; without, the surrogate loss does not depend on it."""
        return bool(self.advantages_D.any())


def make_sequences(
    groups: Sequence[Group], advantages: Sequence[Advantages], *, stamp: Stamp | None = None
) -> list[TrainingSequence]:
    """Turn trajectories into sequences to learn from, in the order played.

    A transcript becomes one sequence, a turn played with a window becomes one of its own. Forced
    tokens are read but not learned from, and sequences without a decision are left out.

    Args:
        groups: The episodes.
        advantages: Their advantages, group by group.
        stamp: Tells the weights by which play has computed hidden states; None leaves these out.

    Raises:
        ValueError: There are not as many advantages as groups, trajectories or turns.
    """
    sequences: list[TrainingSequence] = []
    for group, scored in zip(groups, advantages, strict=True):
        for trajectory, advantages_T in zip(group.trajectories, scored.per_trajectory, strict=True):
            if len(trajectory.turns) != len(advantages_T):
                raise ValueError(
                    f"an episode of {trajectory.task_id} has {len(trajectory.turns)} turns, "
                    f"but {len(advantages_T)} advantages"
                )
            for parts in _passages(trajectory, advantages_T):
                sequence = _sequence(parts)
                if len(sequence.positions_D):
                    sequences.append(_with_states(sequence, trajectory, stamp))
    return sequences


def _with_states(
    sequence: TrainingSequence, trajectory: Trajectory, stamp: Stamp | None
) -> TrainingSequence:
    """Add the states that play has computed; a window's prompts are no part of one sequence."""
    states_SH = trajectory.states_SH
    if stamp is None or states_SH is None or trajectory.context is not ContextMode.TRANSCRIPT:
        return sequence
    assert len(states_SH) >= sequence.positions_D[-1], "play has read all that decisions rest on"
    return dataclasses.replace(sequence, played_states=PlayedStates(to_tensor(states_SH), stamp))


def sequences_of(trajectories: Iterable[Trajectory]) -> list[TrainingSequence]:
    """Turn trajectories into sequences as ``make_sequences`` does, all of advantage 0."""
    sequences = [
        _sequence(parts)
        for trajectory in trajectories
        for parts in _passages(trajectory, np.zeros(len(trajectory.turns)))
    ]
    return [sequence for sequence in sequences if len(sequence.positions_D)]


def collate(
    sequences: Sequence[TrainingSequence],
    *,
    device: torch.device | str = "cpu",
    packed: bool = False,
) -> TrainingBatch:
    """Make one batch of sequences, padded on the right or packed into a single row.

    Raises:
        ValueError: There are no sequences, or constrained and free decisions are mixed.
    """
    if not sequences:
        raise ValueError("a batch needs at least one sequence, got none")
    lengths = np.array([s.read_length if packed else len(s.token_ids_T) for s in sequences])
    counts = [len(sequence.positions_D) for sequence in sequences]
    positions_D = np.concatenate([sequence.positions_D for sequence in sequences])
    if packed:
        token_ids_BT = np.concatenate([s.token_ids_T[: s.read_length] for s in sequences])[None]
        positions_D += np.repeat(np.cumsum(lengths) - lengths, counts)
    else:
        # Any id will do as padding: causal attention never looks ahead.
        token_ids_BT = np.zeros((len(sequences), lengths.max()), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            token_ids_BT[row, : lengths[row]] = sequence.token_ids_T
    return TrainingBatch(
        token_ids_BT=to_tensor(token_ids_BT, device),
        lengths_N=to_tensor(lengths, device),
        rows_D=to_tensor(np.repeat(np.arange(len(sequences)), counts), device),
        positions_D=to_tensor(positions_D, device),
        tokens_D=to_tensor(
            np.concatenate([s.token_ids_T[s.positions_D] for s in sequences]), device
        ),
        allowed_DK=to_tensor(_pad_allowed([ids for s in sequences for ids in s.allowed]), device),
        old_logprobs_D=to_tensor(_join([s.old_logprobs_D for s in sequences]), device),
        advantages_D=to_tensor(_join([s.advantages_D for s in sequences]), device),
        is_packed=packed,
    )


PASS_TOKENS = 128
"""Tokens that cost as much as a pass does: 122 to 126 of the embedded model on a CPU."""


def micro_batches(
    lengths: Sequence[int],
    *,
    max_tokens: int,
    pass_tokens: int | None = PASS_TOKENS,
    packed: bool = False,
) -> list[list[int]]:
    """Cut sequences, sorted by length, into batches of at most so many tokens.

    A sequence longer than the bound gets a batch of its own.

    Args:
        lengths: Tokens of each sequence.
        max_tokens: Most tokens of a batch, padding included.
        pass_tokens: The cuts are those that make padding and passes together cost least, at so many
            tokens a pass; None for as few passes as can be.
        packed: Sequences share a row, without padding.

    >>> micro_batches([10, 400, 10, 399], max_tokens=4096)
    [[0, 2], [3, 1]]
    >>> micro_batches([10, 400, 10, 399], max_tokens=4096, pass_tokens=None)
    [[0, 2, 3, 1]]
    >>> micro_batches([5, 2, 3, 9], max_tokens=10, packed=True)
    [[1, 2, 0], [3]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    ascending = [lengths[index] for index in order]
    if packed:
        cuts = _full_cuts(ascending, max_tokens)
    else:
        # More than the padding of any cuts: not even all of it is worth another pass.
        dear = sum(ascending) + len(ascending) * max(ascending, default=0)
        cuts = _cheapest_cuts(ascending, max_tokens, dear if pass_tokens is None else pass_tokens)
    return [order[start:end] for start, end in itertools.pairwise(cuts)]


def _full_cuts(lengths: Sequence[int], max_tokens: int) -> list[int]:
    """Begin a batch wherever the one before has no room."""
    cuts, total = [0], 0
    for index, length in enumerate(lengths):
        total += length
        if total > max_tokens and index > cuts[-1]:
            cuts.append(index)
            total = length
    return [*cuts, len(lengths)] if lengths else [0]


def _cheapest_cuts(lengths: Sequence[int], max_tokens: int, pass_tokens: int) -> list[int]:
    """Cut ascending lengths so that tokens with padding, and passes, cost least."""
    # By the end of a batch: the least cost of all up to there, and where that batch begins.
    costs, begins = [0], [0]
    for end, longest in enumerate(lengths, start=1):
        options = [
            (costs[start] + (end - start) * longest + pass_tokens, start)
            for start in range(max(0, end - max(1, max_tokens // max(1, longest))), end)
        ]
        cost, begin = min(options)
        costs.append(cost)
        begins.append(begin)
    cuts = [len(lengths)]
    while cuts[-1]:
        cuts.append(begins[cuts[-1]])
    return cuts[::-1]


def to_tensor(array: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Copy an array to a device."""
    return torch.from_numpy(array).to(device)  # pyright: ignore[reportUnknownMemberType]


def _passages(
    trajectory: Trajectory, advantages_T: Float[np.ndarray, " T"]
) -> Iterable[list[tuple[Response, float]]]:
    """Cut an episode into the parts that the model reads in one pass."""
    parts = [
        (turn.response, float(advantage))
        for turn, advantage in zip(trajectory.turns, advantages_T, strict=True)
    ]
    if trajectory.context is ContextMode.TRANSCRIPT:
        return [parts]
    return [[part] for part in parts]


def _sequence(parts: Sequence[tuple[Response, float]]) -> TrainingSequence:
    """Join responses and their prompts, and collect the decisions."""
    token_ids: list[int] = []
    positions: list[int] = []
    allowed: list[tuple[int, ...]] = []
    logprobs: list[float] = []
    advantages: list[float] = []
    for response, advantage in parts:
        start = len(token_ids) + len(response.prompt_ids)
        choices = response.allowed_ids or ((),) * len(response.token_ids)
        for offset, (ids, logprob) in enumerate(zip(choices, response.logprobs, strict=True)):
            # A single allowed id is a forced token; none at all means an open vocabulary.
            if len(ids) != 1:
                positions.append(start + offset)
                allowed.append(ids)
                logprobs.append(logprob)
                advantages.append(advantage)
        token_ids += itertools.chain(response.prompt_ids, response.token_ids)
    # Tokens after the last decision cannot influence it, so that reading them would only cost time.
    end = positions[-1] + 1 if positions else 0
    return TrainingSequence(
        token_ids_T=np.array(token_ids[:end], dtype=np.int64),
        positions_D=np.array(positions, dtype=np.int64),
        allowed=tuple(allowed),
        old_logprobs_D=np.array(logprobs, dtype=np.float32),
        advantages_D=np.array(advantages, dtype=np.float32),
    )


def _pad_allowed(allowed: Sequence[tuple[int, ...]]) -> Int[np.ndarray, "D K"]:
    counts_D = np.array([len(ids) for ids in allowed], dtype=np.int64)
    if counts_D.any() and not counts_D.all():
        raise ValueError("a batch cannot mix constrained and free decisions: play in one mode")
    allowed_DK = np.full((len(allowed), int(counts_D.max(initial=0))), -1, dtype=np.int64)
    filled_DK = np.arange(allowed_DK.shape[1]) < counts_D[:, None]
    allowed_DK[filled_DK] = np.fromiter(itertools.chain.from_iterable(allowed), dtype=np.int64)
    return allowed_DK


def _join(arrays: Sequence[Float[np.ndarray, " _"]]) -> Float[np.ndarray, " D"]:
    return np.concatenate(arrays).astype(np.float32)
