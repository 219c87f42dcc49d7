"""Memory for time: what is inside a decoder block is computed again for its gradients."""

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils import checkpoint

from layerbench.rl.layers import decoder_blocks


@contextmanager
def forgetful_blocks(model: nn.Module, *, enabled: bool) -> Generator[None]:
    """Let forwards in this context keep what goes into each decoder block, and nothing inside.

    Not the switch that transformers' models have: that works in training mode alone, where dropout
    would make the policy another one than has played. Blocks below the first that learns keep
    nothing either way, since no gradient passes through them; their input needs none.

    Args:
        model: With decoder blocks; backwards may follow after the context.
        enabled: False leaves the model alone.
    """
    blocks: list[Any] = list(decoder_blocks(model)) if enabled else []
    # Whoever spreads a model over devices gives modules a forward of their own as well.
    own = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        # The same numbers again, since nothing in evaluation mode is drawn at random.
        block.forward = functools.partial(
            checkpoint.checkpoint,  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            block.forward,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    try:
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward
