"""The selection that a run's settings give, and the name under which it is recorded."""

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.rl.lr_scales import label_scales, parse_scales
from layerbench.rl.selection import parse_selection
from layerbench.rl.types import LayerSelection


def selection_of(config: RunConfig, *, num_layers: int) -> LayerSelection:
    """Read which layers learn, or are put together from the parts of a combined model.

    Raises:
        UserError: The settings ask for layers that the model has not.
    """
    if not config.parts:
        return parse_selection(config.layers, num_layers)
    layers = sorted(layer for part in config.parts for layer in part.layers)
    return LayerSelection(name=config.layers, layers=tuple(layers), num_layers=num_layers)


def recorded_name(config: RunConfig, selection: LayerSelection) -> str:
    """Name the selection such that equal names in one table mean equal training."""
    return selection.name + label_scales(parse_scales(config.train.lr_scale))
