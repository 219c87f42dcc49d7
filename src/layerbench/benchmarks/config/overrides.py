"""``name=value`` as typed on the command line, checked by name and put into hydra's grammar."""

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from layerbench.benchmarks.errors import SettingsError
from layerbench.envs.choices import nearest

# Chosen otherwise, because other settings hang on them.
_ELSEWHERE = {
    "preset": "--preset",
    "env.name": "the argument ENV",
    "parts": "layerbench combine",
    "read_from": "top:K@RESULTS and train.lr_scale=@RESULTS",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One name that can be typed.

    Attributes:
        name: As typed.
        path: Where hydra keeps it.
        value: The present one.
    """

    name: str
    path: str
    value: Any


def to_hydra(typed: Sequence[str], config: object) -> list[str]:
    """Check names and values against a dataclass of settings, and quote the values for hydra.

    Text needs no quotes, and a list no brackets.

    Raises:
        SettingsError: There is no ``=``, no setting of that name, or a value of another type; the
            message has the nearest name. Or a setting has two values.
    """
    settings = {setting.name: setting for setting in settings_of(config)}
    converted = [_to_hydra(item, settings) for item in typed]
    given: dict[str, str] = {}
    for item in typed:
        name, _, text = item.partition("=")
        # By path, since an entry of a mapping has two names.
        path = settings[name].path
        if path in given:
            raise SettingsError(
                f"{name} is given twice, as {given[path]} and as {text.strip()}: give it once"
            )
        given[path] = text.strip()
    return converted


def changes(before: object, after: object) -> list[str]:
    """List in hydra's grammar what turns one dataclass of settings into another of its class."""
    old = {setting.path: setting.value for setting in settings_of(before)}
    # By path, since an entry of a mapping has two names.
    new = {setting.path: setting.value for setting in settings_of(after)}
    return [f"{path}={_literal(new[path])}" for path in new if new[path] != old[path]]


def settings_of(config: object, name: str = "", path: str = "") -> Iterator[Setting]:
    """List what can be typed in a dataclass of settings.

    Entries of a mapping come under two names: ``env.source`` and ``env.options.source``.

    Args:
        config: The dataclass, or a value in it.
        name: Under which the value is typed; empty for the whole.
        path: Where hydra keeps the value.
    """
    if dataclasses.is_dataclass(config):
        for field in dataclasses.fields(config):
            inner = (f"{where}.{field.name}".lstrip(".") for where in (name, path))
            yield from settings_of(getattr(config, field.name), *inner)
    elif isinstance(config, Mapping):
        for key, value in cast(Mapping[str, Any], config).items():
            yield Setting(f"{name.rpartition('.')[0]}.{key}", f"{path}.{key}", value)
            yield Setting(f"{name}.{key}", f"{path}.{key}", value)
    else:
        yield Setting(name, path, config)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a value that is none of the choices.

    Raises:
        SettingsError: With the nearest choice, or all of them.
    """
    if value not in choices:
        raise SettingsError(f"{name} cannot be '{value}': {nearest(value, choices)}")


def _to_hydra(item: str, settings: Mapping[str, Setting]) -> str:
    name, equals, text = item.partition("=")
    if not equals:
        raise SettingsError(f"expected setting=value, got '{item}'")
    for known in (name, name.partition(".")[0]):
        if known in _ELSEWHERE:
            raise SettingsError(f"{name} is chosen by {_ELSEWHERE[known]}")
    if name not in settings:
        raise SettingsError(f"no setting named '{name}'{_hint(name, settings)}")
    setting = settings[name]
    return f"{setting.path}={_value(setting, text.strip())}"


def _hint(name: str, settings: Mapping[str, Setting]) -> str:
    """Suggest a setting by its full name, else by its last part alone."""
    last_parts = {known.rpartition(".")[2]: known for known in settings}
    if close := difflib.get_close_matches(name, settings, n=1):
        return f": did you mean '{close[0]}'?"
    if close := difflib.get_close_matches(name.rpartition(".")[2], last_parts, n=1):
        return f": did you mean '{last_parts[close[0]]}'?"
    return ": layerbench run --help tells where they are listed"


def _value(setting: Setting, text: str) -> str:
    """Write a value in hydra's grammar, by the type of the present one."""
    present = setting.value
    if present is None:
        return "null" if text in ("", "null", "none") else quoted(text)
    if isinstance(present, list):
        return _list(setting.name, text)
    if isinstance(present, bool):
        return _flag(setting.name, text)
    if isinstance(present, int | float):
        return str(_number(setting.name, text, type(present)))
    return quoted(text)


def _list(name: str, text: str) -> str:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "[" in inner or "]" in inner:
        raise SettingsError(f"{name} must be a list such as a,b or [a,b], got '{text}'")
    items = [item.strip() for item in inner.split(",")]
    return f"[{','.join(quoted(item) for item in items if item)}]"


def _flag(name: str, text: str) -> str:
    if text.lower() not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false, got '{text}'")
    return text.lower()


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        number = kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name} must be {wanted}, got '{text}'") from error
    if not math.isfinite(number):
        raise SettingsError(f"{name} must be finite, got '{text}'")
    return number


def _literal(value: object) -> str:
    """Write a value in hydra's grammar, by its own type."""
    if isinstance(value, list):
        return f"[{','.join(_literal(item) for item in cast(list[object], value))}]"
    if value is None:
        return "null"
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """Write text in hydra's grammar such that nothing in it has a meaning there."""
    escaped = text.replace("'", "\\'")
    return f"'{escaped}'"
