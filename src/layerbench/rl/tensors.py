"""A training batch as tensors; in a file of its own so that ``types`` needs no torch.

Shape suffixes: B rows, N sequences, T tokens of a row, S tokens of it that are read, H hidden size,
D decisions (sampled, not forced, tokens of all sequences), K tokens a decision was chosen from.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Sequences, padded or packed, and their decisions.

    Attributes:
        token_ids_BT: Token ids, padded on the right; of packed sequences a single row, in which
            they stand one after the other without their last tokens, which are not read.
        lengths_N: Number of tokens of each sequence in there.
        rows_D: Sequence of each decision, ascending.
        positions_D: Position of the decided token in its row, at least 1; of a packed sequence's
            last one, the position behind what is read of the sequence.
        tokens_D: The decided token.
        allowed_DK: Ids that the decided token was chosen from, padded with -1; K is 0 if the whole
            vocabulary was open.
        old_logprobs_D: Log-probability (nats) under the policy that sampled it.
        advantages_D: Advantage of the decision's turn.
        states_BSH: Hidden states that enter the lowest block that learns; None where all blocks
            are to be run.
        is_packed: Whether the sequences share a row.
    """

    token_ids_BT: Int[Tensor, "B T"]
    lengths_N: Int[Tensor, " N"]
    rows_D: Int[Tensor, " D"]
    positions_D: Int[Tensor, " D"]
    tokens_D: Int[Tensor, " D"]
    allowed_DK: Int[Tensor, "D K"]
    # With an importance correction these are the learner's own, and the advantages hold the weight:
    # see ``importance_correction.correct``.
    old_logprobs_D: Float[Tensor, " D"]
    advantages_D: Float[Tensor, " D"]
    states_BSH: Float[Tensor, "B S H"] | None = None
    is_packed: bool = False

    @property
    def packed_lengths_N(self) -> Int[Tensor, " N"] | None:
        """Lengths of sequences that share a row; None where each has its own."""
        return self.lengths_N if self.is_packed else None
