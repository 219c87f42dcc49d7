"""Settings of training for tests: the defaults in the YAML files, with changes by name.

Apart from those files, tests begin with the published algorithm and one optimizer step an epoch.
"""

import functools
from dataclasses import replace
from typing import Any

from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.runs import resolve
from layerbench.rl.settings import AdvantageSettings, Aggregation, LossSettings, TrainSettings


def train_settings(**changes: Any) -> TrainSettings:  # noqa: ANN401 - fields of several types
    """Make settings of training, with the loss of ``loss_settings``."""
    loss = loss_settings()
    defaults = _defaults().train
    return replace(defaults, **{"loss": loss, "minibatches": 1, "checkpoint_every": 10, **changes})


def loss_settings(**changes: Any) -> LossSettings:  # noqa: ANN401 - fields of several types
    """Make settings of the loss, averaged as in GRPO and with a KL term."""
    defaults = _defaults().train.loss
    return replace(defaults, **{"kl_coef": 0.01, "aggregation": Aggregation.GRPO, **changes})


def advantage_settings(**changes: Any) -> AdvantageSettings:  # noqa: ANN401 - several types
    """Make settings of the advantages, with the discount and weight of the published runs."""
    defaults = _defaults().algorithm
    return replace(defaults, **{"discount": 0.95, "step_weight": 1.0, **changes})


@functools.cache
def _defaults() -> RunConfig:
    return resolve.load("keydoor", preset="default")
