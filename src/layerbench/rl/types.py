"""Types between a group of episodes and an update of the model; tensors are in ``tensors``."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from layerbench.agents.types import Trajectory
from layerbench.errors import UserError


@dataclass(frozen=True, slots=True)
class Group:
    """Episodes of one task, played by one policy from one start state.

    Raises:
        ValueError: The group is empty or mixes tasks.
    """

    trajectories: tuple[Trajectory, ...]

    def __post_init__(self) -> None:
        tasks = {trajectory.task_id for trajectory in self.trajectories}
        if len(tasks) != 1:
            raise ValueError(f"a group holds episodes of one task, got {sorted(tasks) or 'none'}")


@dataclass(frozen=True, slots=True)
class Advantages:
    """Advantages of a group's turns: one vector per trajectory, one entry a turn.

    Attributes:
        per_trajectory: The advantages that the loss uses.
        episode: The part that compares whole episodes.
        step: The part that compares turns at the same anchor, unweighted; zeros without GiGPO.
    """

    per_trajectory: tuple[Float[np.ndarray, " _turns"], ...]
    episode: tuple[Float[np.ndarray, " _turns"], ...]
    step: tuple[Float[np.ndarray, " _turns"], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateStats:
    """Metrics of one iteration's optimizer steps; means are over the decisions learned from.

    These are the decisions of the optimizer batches that took a step, without the sequences left
    out of them (see ``rl.update.update``). A metric that was not measured is None; without a step
    only the counts are there. The fields are keys of ``metrics.jsonl``, in this order.

    Attributes:
        loss: Mean loss of the optimizer steps.
        kl: Mean KL estimate to the base model (nats); None also where the loss needs no reference.
        clip_fraction: Share of decisions whose importance ratio was clipped.
        entropy: Mean entropy (nats) of the distribution that each decision learned from was drawn
            from.
        grad_norm: Mean gradient norm before clipping.
        max_ratio: Largest importance ratio.
        decisions: Decisions learned from, once an epoch.
        steps: Optimizer steps taken; 0 if no turn had an advantage.
        mismatch: Mean distance (nats, absolute) between a decision's log-probability as the model
            that learns has it, before it moved, and as it was sampled; of the decisions of the
            first step, or of all where they are corrected.
        max_mismatch: The largest such distance.
        capped: Share of decisions whose correction was cut to its bound; None without corrections.
    """

    loss: float | None = None
    kl: float | None = None
    clip_fraction: float | None = None
    entropy: float | None = None
    grad_norm: float | None = None
    max_ratio: float | None = None
    decisions: int
    steps: int
    # New fields go to the end: ``metrics.to_row`` puts all after ``steps`` behind the times, so
    # that earlier keys of metrics.jsonl keep their order.
    mismatch: float | None = None
    max_mismatch: float | None = None
    capped: float | None = None


WHOLE = ("full", "all-layers")
"""Selections of everything and of every layer, by these words."""

SCALE, NORM = "scale", "norm"
CONTROLS = (SCALE, NORM)
"""Floor controls, which can hardly learn a skill: one scale of the logits, and the final norm."""


@dataclass(frozen=True, slots=True)
class LayerSelection:
    """The parameters that learn.

    Attributes:
        name: The selection as the user wrote it, normalised: ``15``, ``10,15,20-23``,
            ``middle:10``, ``random:3:0``, ``full``, ``all-layers``, ``scale``, ``norm`` or
            ``none``.
        layers: Decoder blocks that learn, from 0 (nearest the embedding), ascending; none of the
            last three has any.
        num_layers: Number of blocks in the model.
        everything: True for ``full``: embeddings, norms and head learn as well.

    Raises:
        UserError: A layer lies outside the model.
        ValueError: Layers repeat or do not ascend.
    """

    name: str
    layers: tuple[int, ...]
    num_layers: int
    everything: bool = False

    def __post_init__(self) -> None:
        if list(self.layers) != sorted(set(self.layers)):
            # Not a UserError: ``parse_selection`` sorts what a user writes, and refuses repeats.
            raise ValueError(f"layers must ascend without repeats, got {list(self.layers)}")
        outside = [layer for layer in self.layers if not 0 <= layer < self.num_layers]
        if outside:
            raise UserError(
                f"layer {outside[0]} is not in this model: it has {self.num_layers} layers, "
                f"0 to {self.num_layers - 1}"
            )

    @property
    def is_alone(self) -> bool:
        """Whether one decoder block learns, and was asked for as one."""
        return len(self.layers) == 1 and self.name not in WHOLE

    @property
    def is_control(self) -> bool:
        """Whether a floor control learns: parameters outside of all blocks, and few."""
        return self.name in CONTROLS
