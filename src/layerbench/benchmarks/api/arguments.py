"""Arguments of a program, as a user would type them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from layerbench.benchmarks.errors import SettingsError

AnyPath = str | PathLike[str]


def named(env: object) -> str:
    """Refuse what is no name: the environment's processes could not import it."""
    if isinstance(env, str):
        return env
    is_path = isinstance(env, PathLike)
    raise SettingsError(
        f"env is {env!r:.100}, not text: give {'the path as str' if is_path else 'its file'} "
        "(./mine.py), module:NAME or a name, by which other processes can import it"
    )


def typed(settings: Mapping[str, Any] | None) -> list[str]:
    """Write settings as they are typed."""
    from layerbench.benchmarks.config import overrides

    return [f"{name}={overrides.spell(name, value)}" for name, value in (settings or {}).items()]


def layers_as_typed(layers: str | Sequence[int] | None, layer: int | None) -> str | None:
    """Write the selection of a run, which is given as several layers or as one.

    Raises:
        SettingsError: Both are given.
    """
    if layer is not None:
        if layers is not None:
            raise SettingsError(f"layer is {layer} and layers is {layers}: give one of them")
        return str(layer)
    return layers if layers is None or isinstance(layers, str) else listed(layers)


def listed(numbers: Sequence[int]) -> str:
    """Write numbers as a list."""
    return ",".join(map(str, numbers))
