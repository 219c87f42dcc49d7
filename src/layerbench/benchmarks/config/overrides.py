"""Overrides ``name=value`` from the command line, checked and put into the settings.

A value is text and nothing more: no grammar, interpolation or escape gives it another meaning.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import PurePath
from typing import Any, cast

from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import nearest

# Settings that are no overrides: the first two select files of defaults, the others are filled in.
_CHOSEN_BY = {
    "preset": "--preset",
    "env.name": "the argument ENV",
    "env.origin": "the argument ENV",
    "parts": "layerbench combine",
    "prompt": "agent.prompt_file",
    "read_from": "layers=top:K@RESULTS and its like, and train.lr_scale=@RESULTS",
}

_LONGEST_NUMBER = 64
_MOST_SUGGESTED = 3
_NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting under a name that can be typed.

    Attributes:
        name: Name on the command line.
        path: Path in the dataclass, mappings included.
        value: Present value.
    """

    name: str
    path: str
    value: Any


def apply(typed: Sequence[str], config: object) -> None:
    """Check overrides against a dataclass of settings, and put their values into it.

    Text needs no quotes, and a list no brackets.

    Raises:
        SettingsError: An override has no ``=``, no setting of its name (the message has the
            nearest), or a value of another type; or a setting has two values.
    """
    settings = {setting.name: setting for setting in settings_of(config)}
    values = [_parse(item, settings) for item in typed]
    # Compared by path: an entry of a mapping has two names, but one path.
    given: dict[str, str] = {}
    for item, (path, value) in zip(typed, values, strict=True):
        name, _, text = item.partition("=")
        if path in given:
            raise SettingsError(
                f"{name} is given twice, as {given[path]} and as {text.strip()}: give it once"
            )
        given[path] = text.strip()
        _set(config, path.split("."), value)


def settings_of(config: object, name: str = "", path: str = "") -> Iterator[Setting]:
    """List the settings of a dataclass by the names that can be typed.

    Entries of a mapping have two names: ``env.source`` and ``env.options.source``.

    Args:
        config: The dataclass, or a value in it.
        name: Name of the value on the command line; empty for the whole.
        path: Path of the value; empty for the whole.
    """
    if dataclasses.is_dataclass(config):
        for field in dataclasses.fields(config):
            inner = (f"{outer}.{field.name}".lstrip(".") for outer in (name, path))
            yield from settings_of(getattr(config, field.name), *inner)
    elif isinstance(config, Mapping):
        for key, value in cast(Mapping[str, Any], config).items():
            yield Setting(f"{name.rpartition('.')[0]}.{key}", f"{path}.{key}", value)
            yield Setting(f"{name}.{key}", f"{path}.{key}", value)
    else:
        yield Setting(name, path, config)


def spell(name: str, value: object) -> str:
    """Write the value of a setting as it is typed: the inverse of what ``apply`` reads.

    >>> spell("env.eval_splits", ["seen", "unseen"]), spell("train.dynamic_sampling", True)
    ('[seen,unseen]', 'true')

    Raises:
        SettingsError: It cannot be typed.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        items = [spell(name, item) for item in cast(Sequence[object], value)]
        if not any("," in item or not item.strip() for item in items):
            return f"[{','.join(items)}]"
    if isinstance(value, Real | PurePath):
        return str(value)
    if isinstance(value, str) and value == value.strip():
        return str(value)
    raise SettingsError(f"{name} cannot be {value!r}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        SettingsError: The value is none of them; the message has the nearest choice, or all.
    """
    if value not in choices:
        raise SettingsError(f"{name} cannot be '{value}': {nearest(value, choices)}")


def _parse(item: str, settings: Mapping[str, Setting]) -> tuple[str, object]:
    """Read an override: the path of its setting, and its value."""
    name, equals, text = item.partition("=")
    if not equals:
        raise SettingsError(f"expected setting=value, got '{item}'")
    # The second for settings within `read_from`, as `read_from.layers.table`.
    for prefix in (name, name.partition(".")[0]):
        if prefix in _CHOSEN_BY:
            raise SettingsError(f"{name} is chosen by {_CHOSEN_BY[prefix]}")
    if name not in settings:
        raise SettingsError(f"no setting named '{name}'{_hint(name, settings)}")
    setting = settings[name]
    return setting.path, _value(setting, text.strip())


def _set(config: object, path: Sequence[str], value: object) -> None:
    for name in path[:-1]:
        config = getattr(config, name)
    if isinstance(config, dict):
        config[path[-1]] = value
    else:
        setattr(config, path[-1], value)


def _hint(name: str, settings: Mapping[str, Setting]) -> str:
    """Suggest the setting with the nearest full name, else with the nearest last part."""
    last_parts = {full_name.rpartition(".")[2]: full_name for full_name in settings}
    if close := difflib.get_close_matches(name, settings, n=1, cutoff=_NEAR):
        return f": did you mean '{close[0]}'?"
    # A word of a name alone, such as `agent.mode`, is nearer to a shorter one by its letters.
    section, _, word = name.rpartition(".")
    having = [
        full_name
        for full_name in settings
        if full_name.startswith(f"{section}.") and word in full_name.rpartition(".")[2].split("_")
    ]
    if 0 < len(having) <= _MOST_SUGGESTED:
        return f": did you mean {' or '.join(map(repr, having))}?"
    # The full name first: last parts such as ``seed`` and ``name`` are in several sections.
    if close := difflib.get_close_matches(name, settings, n=1):
        return f": did you mean '{close[0]}'?"
    if close := difflib.get_close_matches(name.rpartition(".")[2], last_parts, n=1):
        return f": did you mean '{last_parts[close[0]]}'?"
    return ": layerbench run --help tells where they are listed"


def _value(setting: Setting, text: str) -> object:
    """Read a value, with the type of the present value."""
    present = setting.value
    # An option without a value, such as ALFWorld's data_dir, has no type to check: it takes text.
    if present is None:
        return None if text in ("", "null", "none") else text
    if isinstance(present, list):
        items, first = _list(setting.name, text), next(iter(cast(list[object], present)), "")
        # No list of numbers is empty: its items have a type to check.
        return [_number(setting.name, i, float) for i in items] if _is_float(first) else items
    # Before the numbers: a bool is an int to Python.
    if isinstance(present, bool):
        return _flag(setting.name, text)
    if isinstance(present, int | float):
        return _number(setting.name, text, type(present))
    return text


def _list(name: str, text: str) -> list[str]:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "[" in inner or "]" in inner:
        raise SettingsError(f"{name} must be a list such as a,b or [a,b], got '{text}'")
    return [item.strip() for item in inner.split(",") if item.strip()]


def _is_float(value: object) -> bool:
    return isinstance(value, float)


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false, got '{text}'")
    return text.lower() == "true"


def _number(name: str, text: str, cls: type[int] | type[float]) -> int | float:
    requirement = "a whole number" if cls is int else "a number"
    # Longer than any number of use; int() of thousands of digits takes long, and float() of them
    # overflows. Digits of other scripts and 1_000 are numbers to Python, but hardly meant.
    if len(text) > _LONGEST_NUMBER or not text.isascii() or "_" in text:
        raise SettingsError(f"{name} must be {requirement}, got '{text[:_LONGEST_NUMBER]}'")
    try:
        number = cls(text)
    except ValueError as error:
        raise SettingsError(f"{name} must be {requirement}, got '{text}'") from error
    # float() reads nan and inf, which no record can hold: its JSON takes finite numbers alone.
    if not math.isfinite(number):
        raise SettingsError(f"{name} must be finite, got '{text}'")
    # -0.0 becomes 0.0, which it equals: records of the two would have different hashes.
    return number + cls(0)
