"""Conversion between the declared settings and the flat form with plain types for hydra.

A setting is declared once: a field of a dataclass, here in ``schema.py`` or in ``rl/settings.py``,
with its type, its range and its docstring. What hydra needs (plain types, no values) is derived
from that, and so are the choices and the checks.
"""

import dataclasses
import functools
import re
import types
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import MISSING

from layerbench.benchmarks.config.overrides import check_choice
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.rl.settings import LossSettings, Range

T = TypeVar("T")

FLAT = (LossSettings,)
"""Classes whose settings are flat in the section that holds them: ``train.clip_low``."""

_OPTION = Range(-1_000_000, 1_000_000, because="an option of an environment is a small number")
"""Range of numbers among an environment's options, which declare none."""

_OPTION_TYPES = (str, int, float, bool, types.NoneType)

LONGEST_TEXT = 4096
"""Characters of a text: the longest path on Linux."""

# float() of a larger integer can overflow.
_LARGEST = 10**300


# Cached: omegaconf takes a class that is made twice for two, and refuses to merge them.
@functools.cache
def hydra_form(cls: type[Any]) -> type[Any]:
    """Make the dataclass that hydra composes: plain types, flat sections, values missing."""
    fields: list[tuple[str, Any, Any]] = []
    for name, hint, default in _fields(cls):
        if hint in FLAT:
            inner = dataclasses.fields(hydra_form(hint))
            fields += [(f.name, f.type, dataclasses.field(default=f.default)) for f in inner]
        else:
            fields.append((name, _plain_type(hint), _default(hint, default)))
    return dataclasses.make_dataclass(f"{cls.__name__}Form", fields)


def settings_from(cls: type[T], form: object, *, name: str = "") -> T:
    """Make settings from hydra's form, and check every value by its own field.

    Args:
        cls: Class of the settings.
        form: An instance of ``hydra_form(cls)``, or of the section that holds it.
        name: Name of the section, for errors.

    Raises:
        SettingsError: A value is not allowed; the message names the first such setting and what
            would be right.
    """
    values: dict[str, Any] = {}
    for field, hint, _ in _fields(cls):
        if hint in FLAT:
            values[field] = settings_from(hint, form, name=name)
            continue
        full_name = f"{name}.{field}".lstrip(".")
        values[field] = _value_from(hint, getattr(form, field), full_name)
    try:
        return cls(**values)
    # Rules of several fields are in the class, which does not know its section's name.
    except UserError as error:
        raise SettingsError(f"{name}.{error}") from error


def form_from(cls: type[Any], data: object, *, name: str = "") -> Any:  # noqa: ANN401 - see form_of
    """Fill ``hydra_form(cls)`` from plain data, such as the settings of a record.

    Raises:
        SettingsError: A setting is missing, is none of the class, or is of another type.
    """
    return _plain_from(hydra_form(cls), data, name)


def form_of(settings: object) -> Any:  # noqa: ANN401 - a class made by hydra_form
    """Convert settings to the form that hydra composes."""
    values: dict[str, Any] = {}
    for field, hint, _ in _fields(type(settings)):
        value: Any = getattr(settings, field)
        if hint in FLAT:
            values |= cast(dict[str, Any], vars(form_of(value)))
        else:
            values[field] = _form_value(value)
    return hydra_form(type(settings))(**values)


@functools.cache
def choices_of(cls: type[Any], name: str = "") -> Mapping[str, tuple[str, ...]]:
    """List the allowed words of each setting that has some, by the setting's full name."""
    choices: dict[str, tuple[str, ...]] = {}
    for field, hint, _ in _fields(cls):
        full_name = f"{name}.{field}".lstrip(".")
        if words := _words(hint):
            choices[full_name] = words
        elif dataclasses.is_dataclass(hint):
            choices |= choices_of(cast(type[Any], hint), name if hint in FLAT else full_name)
    return choices


def _fields(cls: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """List the fields of a settings class: name, type with its metadata, and the field itself."""
    hints = _hints(cls)
    for field in dataclasses.fields(cls):
        yield field.name, hints[field.name], field


# Cached, since get_type_hints evaluates postponed annotations at every call.
_hints = functools.cache(functools.partial(get_type_hints, include_extras=True))


def _plain_type(hint: Any) -> Any:  # noqa: ANN401 - a type, or what typing makes of one
    if get_origin(hint) is Annotated:
        return _plain_type(get_args(hint)[0])
    if _words(hint):
        return str
    if get_origin(hint) is list:
        return types.GenericAlias(list, (_plain_type(get_args(hint)[0]),))
    return hydra_form(hint) if dataclasses.is_dataclass(hint) else hint


def _default(hint: Any, field: Any) -> Any:  # noqa: ANN401 - as dataclasses have them
    if field.default is not dataclasses.MISSING:
        return dataclasses.field(default=field.default)
    if get_origin(hint) in (list, dict):
        return dataclasses.field(default_factory=get_origin(hint))
    if dataclasses.is_dataclass(hint):
        return dataclasses.field(default_factory=hydra_form(hint))
    # omegaconf's MISSING, and no default here: a setting without a value in ``conf/`` is an error.
    return dataclasses.field(default=MISSING)


def _value_from(hint: Any, value: Any, name: str) -> Any:  # noqa: ANN401 - any setting's
    if dataclasses.is_dataclass(hint):
        return settings_from(cast(type[Any], hint), value, name=name)
    _check_text(value, name)
    if words := _words(hint):
        check_choice(name, value, words)
        # A StrEnum is a class that converts; a Literal has plain words.
        return hint(value) if isinstance(hint, type) else value
    if get_origin(hint) is dict:
        for key, option in value.items():
            option_name = f"{name.rpartition('.')[0]}.{key}"
            _check_range(_OPTION, option, option_name)
            _check_text(option, option_name)
    if get_origin(hint) is list:
        return [_value_from(get_args(hint)[0], item, name) for item in value]
    for metadata in getattr(hint, "__metadata__", ()):
        _check_range(metadata, value, name)
    return value


def _check_range(allowed: Range, value: object, name: str) -> None:
    # A bool is an int to Python, but has no range.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if requirement := allowed.requirement(value):
        raise SettingsError(f"{name} must be {requirement}, got {value}")


def _plain_from(kind: Any, data: Any, name: str) -> Any:  # noqa: ANN401 - any setting's
    """Check plain data against the type of a form's field; sections become forms."""
    if dataclasses.is_dataclass(kind):
        given = _of_type(dict, data, name)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        missing = [n for n, field in fields.items() if n not in given and _is_required(field)]
        if unknown := sorted(map(str, given.keys() - fields.keys())):
            raise SettingsError(f"no setting named '{f'{name}.{unknown[0]}'.lstrip('.')[:80]}'")
        if missing:
            raise SettingsError(f"{f'{name}.{missing[0]}'.lstrip('.')} is missing")
        values = {
            n: _plain_from(fields[n].type, value, f"{name}.{n}".lstrip("."))
            for n, value in given.items()
        }
        return cast(Any, kind)(**values)
    if get_origin(kind) is list:
        return [_plain_from(get_args(kind)[0], item, name) for item in _of_type(list, data, name)]
    if get_origin(kind) is dict:
        for key, value in _of_type(dict, data, name).items():
            if not isinstance(key, str) or not isinstance(value, _OPTION_TYPES):
                raise SettingsError(f"{name} must be text, numbers, true, false or null by name")
        return dict(data)
    # JavaScript and jq write 1.0 as 1. Exactly otherwise: a bool is an int to Python.
    if kind is float and type(data) is int and abs(data) <= _LARGEST:
        return float(data)
    return _of_type(kind, data, name)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    if field.default_factory is dataclasses.MISSING:
        return field.default is MISSING
    made = field.default_factory()
    return dataclasses.is_dataclass(made) and MISSING in vars(made).values()


def _of_type(kind: type[Any], data: object, name: str) -> Any:  # noqa: ANN401 - as asked for
    if type(data) is not kind:
        raise SettingsError(
            f"{name or 'they'} must be of type {kind.__name__}, not {type(data).__name__}"
        )
    return data


def _check_text(value: object, name: str) -> None:
    """Refuse text that no file can hold, or that no name or path can be as long as."""
    if isinstance(value, list):
        for item in cast(list[object], value):
            _check_text(item, name)
    if not isinstance(value, str):
        return
    # Counted, not shown: it fills the terminal.
    if len(value) > LONGEST_TEXT:
        raise SettingsError(f"{name} has {len(value)} characters: {LONGEST_TEXT} are the most")
    if re.search("[\\0\ud800-\udfff]", value):
        raise SettingsError(f"{name} has a character that is no text: {value!r}")


def _form_value(value: Any) -> Any:  # noqa: ANN401 - any setting's
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list):
        return [_form_value(item) for item in cast(list[Any], value)]
    return form_of(value) if dataclasses.is_dataclass(value) else value


def _words(hint: Any) -> tuple[str, ...]:  # noqa: ANN401 - a type, or what typing makes of one
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return tuple(word.value for word in hint)
    return get_args(hint) if get_origin(hint) is Literal else ()
