"""Environments, made by the names that users type."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gymnasium as gym


def make_env(name: str, *, max_turns: int | None = None, **options: object) -> "gym.Env[str, str]":
    """Make an environment by the name that a user types, as ``gymnasium.make`` would.

    Args:
        name: Its name, ``module:NAME`` or the path of a file, whose code runs in this process.
        max_turns: Actions after which an episode is truncated; None for the environment's own.
        options: The environment's options; those not given have their defaults.

    Raises:
        UserError: There is no such environment, or it cannot be made with these options.
    """
    from layerbench.envs import failures, references, registry
    from layerbench.envs.choices import check_known
    from layerbench.errors import UserError

    loaded = references.load(name)
    own = loaded.spec.own_options()
    for option in options:
        check_known(f"option of {loaded.name}", option, own)
    given = {**own, **options}
    try:
        return registry.make(name, given, max_turns=max_turns or loaded.spec.max_turns)
    except UserError:
        raise
    # Whatever its constructor raises for options that it does not take.
    except Exception as error:
        reason = failures.one_line(error)
        changed = loaded.spec.changed(given)
        raise UserError(f"{loaded.name} cannot be made{changed}: {reason}") from error
