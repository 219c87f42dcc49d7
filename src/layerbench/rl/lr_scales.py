"""Multipliers of the learning rate by decoder block.

*Is One Layer Enough?* (arXiv:2607.01232, section 4.1) trains all layers and doubles the learning
rate of the best k: by hand, ``14:2,16:2``. Rates in proportion to contribution are our own.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from layerbench.errors import UserError
from layerbench.rl.selection import NUMBER, without_spaces
from layerbench.rl.types import LayerSelection

BOOST = 2.0
"""The paper's multiplier of the best layers."""

DECIMALS = 3
"""Decimals of a multiplier made from contributions, which are less precise than that."""


def parse_scales(text: str) -> dict[int, float]:
    """Read multipliers by layer; empty text gives none.

    >>> parse_scales("15: 2, 10:0.5")
    {10: 0.5, 15: 2.0}

    Args:
        text: ``LAYER:MULTIPLIER`` each, with commas between them; layers from 0.

    Raises:
        UserError: The text is not in this grammar, or names a layer twice.
    """
    written = without_spaces(text, what="lr_scale")
    scales: dict[int, float] = {}
    for part in written.split(",") if written else ():
        # With an exponent, as repr writes small numbers.
        match = re.fullmatch(
            rf"({NUMBER}):([0-9]{{1,30}}(?:\.[0-9]{{0,30}})?(?:e-?[0-9]{{1,4}})?)", part
        )
        if match is None:
            raise UserError(f"lr_scale {text!r} cannot be read at {part!r}: write 10:1,15:2.5")
        layer = int(match[1])
        if layer in scales:
            raise UserError(f"lr_scale {text!r} names layer {layer} twice: name it once")
        scales[layer] = float(match[2])
    return dict(sorted(scales.items()))


def spell_scales(scales: Mapping[int, float]) -> str:
    """Write multipliers such that ``parse_scales`` reads the same numbers.

    >>> spell_scales({15: 2.0, 10: 0.5})
    '10:0.5,15:2.0'
    """
    return ",".join(f"{layer}:{scale!r}" for layer, scale in sorted(scales.items()))


def label_scales(scales: Mapping[int, float]) -> str:
    """Label a selection by its multipliers, for a table; empty without multipliers.

    >>> label_scales({10: 1.0, 15: 2.5})
    ' rates 10:1,15:2.5'
    >>> label_scales(dict.fromkeys(range(12), 2.0))
    ' rates 58e0094d'
    """
    if not scales:
        return ""
    spelled = spell_scales(scales)
    short = spelled.replace(".0,", ",").removesuffix(".0")
    if len(short) > 24:
        short = hashlib.sha256(spelled.encode()).hexdigest()[:8]
    return f" rates {short}"


def check_scales(scales: Mapping[int, float], selection: LayerSelection) -> None:
    """Make sure that the multipliers are of selected layers, and not 0 for all of them.

    Raises:
        UserError: A multiplier is negative or not finite, its layer is not selected, or every
            selected layer has 0.
    """
    for layer, scale in scales.items():
        # The grammar has no sign, but takes 1e999, which is infinite.
        if not math.isfinite(scale) or scale < 0.0:
            raise UserError(f"lr_scale of layer {layer} must be at least 0 and finite, got {scale}")
        if layer not in selection.layers:
            raise UserError(
                f"lr_scale names layer {layer}, which the selection {selection.name} does not train"
            )
    # With ``full`` the embeddings, norms and head learn even then.
    if (
        scales
        and not selection.everything
        and not any(scales.get(layer, 1.0) for layer in selection.layers)
    ):
        raise UserError(f"lr_scale is 0 for all layers of the selection {selection.name}")


def contribution_scales(
    contributions: Mapping[int, float], layers: Sequence[int]
) -> dict[int, float]:
    """Let layers learn in proportion to what they contributed when trained alone.

    ``s_k = max(C_k, 0) / mean_j max(C_j, 0)``, j over the layers that learn, so that the mean
    learning rate is what it is without multipliers; rounded to ``DECIMALS``. A layer that
    contributed nothing keeps its weights. No source gives this formula: it is ours.

    >>> contribution_scales({3: 0.9, 7: 0.3, 9: -0.2}, [3, 7, 9])
    {3: 2.25, 7: 0.75, 9: 0.0}

    Args:
        contributions: C by layer; it may have layers that do not learn.
        layers: Decoder blocks that learn, at least one.

    Raises:
        UserError: A layer has no contribution, or none has one above 0.
    """
    missing = [layer for layer in layers if layer not in contributions]
    if missing:
        raise UserError(f"layer {missing[0]} has no contribution, so no learning rate follows")
    clipped = {layer: max(contributions[layer], 0.0) for layer in layers}
    mean = fmean(clipped.values())
    if mean == 0.0:
        raise UserError("no layer contributed anything, so no learning rate follows")
    return {layer: round(value / mean, DECIMALS) for layer, value in clipped.items()}
