"""Activation checkpointing of decoder blocks: less memory for one more forward pass."""

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.utils import checkpoint

from layerbench.rl.layers import decoder_blocks


@contextmanager
def checkpointed_blocks(model: nn.Module, *, enabled: bool) -> Generator[None]:
    """Let forwards in this context keep the input of each decoder block, and nothing inside it.

    The rest is computed again during the backward pass. Blocks below the first one that learns
    keep nothing either way, since no gradient passes through them.

    Args:
        model: A model with decoder blocks; the backward pass may follow after the context.
        enabled: False leaves the model alone.
    """
    # transformers' own switch works in training mode alone, where dropout would make the policy
    # another one than has played.
    blocks: list[Any] = list(decoder_blocks(model)) if enabled else []
    # accelerate's device hooks also replace ``forward``; they are restored afterwards.
    replaced = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        # Generator states need not be kept: nothing is drawn at random in evaluation mode.
        block.forward = functools.partial(
            checkpoint.checkpoint,  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            block.forward,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    try:
        yield
    finally:
        for block, forward in zip(blocks, replaced, strict=True):
            del block.forward
            if forward is not None:
                block.forward = forward
