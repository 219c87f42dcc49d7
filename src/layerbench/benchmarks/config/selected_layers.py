"""The layer selection of a run's settings, and its name in the record."""

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.rl.lr_scales import label_scales, parse_scales
from layerbench.rl.selection import parse_selection
from layerbench.rl.types import LayerSelection


def selection_of(config: RunConfig, *, num_layers: int) -> LayerSelection:
    """Parse the layers to train; for a combined model, collect the layers of its parts.

    Raises:
        UserError: The settings name layers that the model does not have.
    """
    if not config.parts:
        return parse_selection(config.layers, num_layers)
    layers = sorted(layer for part in config.parts for layer in part.layers)
    return LayerSelection(name=config.layers, layers=tuple(layers), num_layers=num_layers)


def recorded_name(config: RunConfig, selection: LayerSelection) -> str:
    """Name the selection, so that equal names in one leaderboard table mean equal training."""
    return selection.name + label_scales(parse_scales(config.train.lr_scale))
