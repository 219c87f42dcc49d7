"""The environments of a run, by its settings."""

from layerbench.benchmarks.config.schema import EnvConfig
from layerbench.envs.pool import EnvPool


def open_pool(env: EnvConfig, *, one_by_one: bool = False) -> EnvPool:
    """Make the pool of a run's environments.

    Args:
        env: The settings of the environment.
        one_by_one: Play one episode at a time in this process, whatever the settings say; in one
            worker process where the environment is not layerbench's own.
    """
    return EnvPool(
        env.reference,
        env.options,
        max_turns=env.max_turns,
        num_slots=1 if one_by_one else env.slots,
        num_workers=0 if one_by_one else env.workers,
        timeout_s=env.timeout_s,
    )
