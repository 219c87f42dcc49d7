"""Sweeps played by a logistic model, whose true success rates are known.

Shape suffixes: R seeds, N tasks.

Each task has its difficulty for all selections and its own quirk for each; each training has an
effect of its own; each episode is won or lost by chance. The truth is the success rate over all
tasks and trainings, by quadrature.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

BASE, FULL = "none", "full"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of sweep.

    Attributes:
        name: Name of the scenario's special feature.
        full: True success rate of full training; ``layers`` and ``base`` are those of the others.
        full_sd: Approximate standard deviation of full training's effect on the success rate.
        layer_sds: The same of each layer's training.
        luck: Correlation of an episode's luck between selections of one seed.
        task_sd: Spread of the tasks' difficulty, in logits.
        quirk_sd: Spread of the tasks' difficulty for one selection alone, in logits.
    """

    name: str
    base: float = 0.35
    full: float = 0.55
    layers: tuple[float, ...] = (0.35, 0.35, 0.42, 0.45, 0.48, 0.52, 0.55, 0.57)
    full_sd: float = 0.03
    layer_sds: tuple[float, ...] = (0.03,) * 8
    seeds: int = 3
    tasks: int = 128
    luck: float = 0.0
    task_sd: float = 1.2
    quirk_sd: float = 0.5


class Simulator:
    """Draws sweeps of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        names = [BASE, FULL, *(str(layer) for layer in range(len(scenario.layers)))]
        rates = [scenario.base, scenario.full, *scenario.layers]
        sds = [0.0, scenario.full_sd, *scenario.layer_sds]
        self.truth = dict(zip(names, rates, strict=True))
        # A logit moves a success rate by up to a quarter, by about a fifth over mixed tasks.
        self._effects = {name: 5 * sd for name, sd in zip(names, sds, strict=True)}
        spread = scenario.task_sd**2 + scenario.quirk_sd**2
        self._means = {
            name: mean_logit(rate, spread + self._effects[name] ** 2)
            for name, rate in self.truth.items()
        }

    def draw(self, rng: np.random.Generator) -> dict[str, Float[np.ndarray, "R N"]]:
        """Play one sweep: won or not by selection, seed and task."""
        scenario = self.scenario
        shape = (scenario.seeds, scenario.tasks)
        difficulty_N = rng.normal(0, scenario.task_sd, scenario.tasks)
        shared_RN = rng.standard_normal(shape)
        sweep: dict[str, Float[np.ndarray, "R N"]] = {}
        for name, mean in self._means.items():
            quirk_N = rng.normal(0, scenario.quirk_sd, scenario.tasks)
            effect_R = rng.normal(0, self._effects[name], (scenario.seeds, 1))
            own_RN = rng.standard_normal(shape)
            luck_RN = np.sqrt(scenario.luck) * shared_RN + np.sqrt(1 - scenario.luck) * own_RN
            chance_RN = special.expit(mean + difficulty_N + quirk_N + effect_R)
            sweep[name] = (special.ndtr(luck_RN) < chance_RN).astype(float)
        return sweep


def mean_logit(rate: float, variance: float) -> float:
    """Find the mean of normal logits that gives a success rate, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)

    def excess(mean: float) -> float:
        chances = special.expit(mean + np.sqrt(variance) * nodes)
        return float(weights @ chances / weights.sum()) - rate

    return float(optimize.brentq(excess, -12, 12))
