"""The packages whose environments are wrapped, by the names that stand before the colon."""

from importlib import import_module
from typing import Any

from layerbench.envs.choices import check_known

_MODULES = {
    "gym": "gymnasium",
    "minigrid": "minigrid",
    "reasoning-gym": "reasoning_gym",
    "scienceworld": "scienceworld",
    "textarena": "textarena",
    "textworld": "textworld",
    "textworld-express": "textworld_express",
}


def names() -> tuple[str, ...]:
    """List the families."""
    return tuple(_MODULES)


# The modules have a ``FAMILY``, and the functions ``spec`` and ``listing``.
def find(name: str) -> Any:  # noqa: ANN401
    """Import the module of a family.

    Raises:
        UserError: There is no such family.
    """
    check_known("family of environments", name, _MODULES)
    return import_module(f"{__package__}.{_MODULES[name]}")
