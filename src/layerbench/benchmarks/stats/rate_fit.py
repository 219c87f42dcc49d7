"""Learning rates by depth: the logarithm of the best rate of each layer as a quadratic.

The best of a few noisy trials flatters a layer by luck, and each by another amount; a smooth
curve through all of them has three numbers to be lucky in.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_DEGREE = 2


@dataclass(frozen=True, slots=True)
class RateFit:
    """A curve of learning rates over depth.

    Attributes:
        coefficients: Of ln(rate) = c0 + c1 d + c2 d^2 with d = layer / (num_layers - 1); fewer
            where fewer than three layers were tuned.
        num_layers: Decoder blocks of the model.
        residual: Root mean square of ln(best rate) - ln(fitted rate) over the tuned layers; 0
            where there are as many layers as coefficients.
    """

    coefficients: tuple[float, ...]
    num_layers: int
    residual: float

    def rate(self, layer: int) -> float:
        """Give the fitted rate of a layer, counted from 0."""
        depth = _depth(layer, self.num_layers)
        return math.exp(math.fsum(c * depth**i for i, c in enumerate(self.coefficients)))


def fit_rates(best: Mapping[int, float], *, num_layers: int) -> RateFit:
    """Fit the best rates of some layers by least squares.

    Args:
        best: The best rate tried, above 0, by layer; at least one.
        num_layers: Decoder blocks of the model.
    """
    depths = np.array([_depth(layer, num_layers) for layer in best])
    logs = np.log(np.array(list(best.values())))
    degree = min(_DEGREE, len(best) - 1)
    coefficients = np.polynomial.polynomial.polyfit(depths, logs, degree)
    misses = logs - np.polynomial.polynomial.polyval(depths, coefficients)
    is_exact = len(best) == degree + 1
    return RateFit(
        tuple(map(float, coefficients)),
        num_layers,
        0.0 if is_exact else float(np.sqrt(np.mean(misses**2))),
    )


def _depth(layer: int, num_layers: int) -> float:
    return layer / max(num_layers - 1, 1)
