"""JSON from and to frozen dataclasses, with every name and type checked on the way in.

A field that may be missing is None by default, and left out where it is.
"""

import dataclasses
import functools
import json
import math
import os
import types
import typing
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from layerbench.benchmarks.errors import FormatError

T = TypeVar("T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Decoder: TypeAlias = Callable[[Json, str], object]
"""Reads a value that is named by the text in errors."""


_SHARED = 65_536  # decoded values of one kind that are kept, and given out again


def dumps(value: object) -> str:
    """Write a dataclass as JSON, indented, in the order of its fields.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(encode(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(path: Path, value: object) -> None:
    """Write a dataclass to a file, whole or not at all."""
    replace_text(path, dumps(value))


def replace_text(path: Path, text: str) -> None:
    """Write a file such that no reader and no crash ever sees half of it."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def read(kind: type[T], path: Path) -> T:
    """Read a dataclass from a file.

    Raises:
        FormatError: As for ``loads``; the message names the file.
    """
    return loads(kind, read_text(path), where=str(path))


def read_text(path: Path) -> str:
    """Read a file that is to hold JSON.

    Raises:
        FormatError: It is no text; the message names the file.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not JSON: {error}") from error


def loads(kind: type[T], text: str, *, where: str) -> T:
    """Read a dataclass from JSON.

    Args:
        kind: The dataclass to fill.
        text: What ``dumps`` wrote.
        where: Named in errors, for example the file.

    Raises:
        FormatError: The text is not JSON, or a field is missing, unknown or of another type, or
            the dataclass refuses the values.
    """
    return decode(kind, parse(text, where=where), where=where)


def parse(text: str, *, where: str) -> Json:
    """Read JSON of any form.

    Raises:
        FormatError: The text is not JSON, or an object in it has a key twice.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        if "\\ud" in text.lower():
            # Half a character, which JSON can escape and no file can hold.
            json.dumps(data, ensure_ascii=False).encode()
        return data
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON: {error}") from error


def encode(value: object) -> Json:
    """Turn dataclasses, mappings and tuples into what JSON can say."""
    if dataclasses.is_dataclass(value):
        found = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {
            field.name: encode(item)
            for field, item in found.items()
            if item is not None or not _may_be_missing(field)
        }
    if isinstance(value, Mapping):
        items = cast(Mapping[object, object], value).items()
        return {str(key): encode(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [encode(item) for item in cast(list[object], value)]
    return cast(Json, value)


def decode(kind: type[T], data: Json, *, where: str) -> T:
    """Fill a dataclass from what ``json.loads`` gave.

    Raises:
        FormatError: As for ``loads``.
    """
    return cast(T, _decoder(kind)(data, where))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    # Readers differ in which of two values they take.
    items = dict(pairs)
    if len(items) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(n for n in names if names.count(n) > 1)}' is there twice")
    return items


@functools.cache
def _decoder(kind: object) -> Decoder:
    """Make what reads values of one type; cached, because looking at types is slow."""
    if kind is Any:
        return lambda data, _where: data
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(cast(type, kind))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return _tuple_decoder(_decoder(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(_decoder(arguments[1]))
    if origin is types.UnionType:
        return _nullable_decoder(_decoder(arguments[0]))
    return _float if kind is float else _scalar_decoder(cast(type, kind))


def _nullable_decoder(decode_value: Decoder) -> Decoder:
    return lambda data, where: None if data is None else decode_value(data, where)


def _tuple_decoder(decode_item: Decoder) -> Decoder:
    def decode_tuple(data: Json, where: str) -> object:
        items = cast(list[Json], _expect(list, data, where, "a list"))
        return tuple([decode_item(item, f"{where}[{i}]") for i, item in enumerate(items)])

    return decode_tuple


def _mapping_decoder(decode_item: Decoder) -> Decoder:
    def decode_mapping(data: Json, where: str) -> object:
        entries = cast(dict[str, Json], _expect(dict, data, where, "an object"))
        return {key: decode_item(item, f"{where}.{key}") for key, item in entries.items()}

    return decode_mapping


def _dataclass_decoder(kind: type) -> Decoder:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    optional = {field.name for field in fields if _may_be_missing(field)}
    # What may be missing is not null where it is there.
    given_as = {n: typing.get_args(hints[n])[0] if n in optional else hints[n] for n in hints}
    decoders = {field.name: _decoder(given_as[field.name]) for field in fields}
    # Many records hold the same few counts over and over.
    make = functools.lru_cache(maxsize=_SHARED)(kind) if _is_plain(kind) else kind

    def decode_dataclass(data: Json, where: str) -> object:
        """Decode an object; ``FormatError`` names the field, from ``where`` on."""
        given = cast(dict[str, Json], _expect(dict, data, where, "an object"))
        # Few forms have such fields: the others need no set of their own.
        _check_names(decoders.keys(), given.keys() | optional if optional else given.keys(), where)
        values = [
            read(given[name], f"{where}.{name}") if name in given else None
            for name, read in decoders.items()
        ]
        try:
            return make(*values)
        except FormatError:
            raise
        except ValueError as error:
            raise FormatError(f"{where}: {error}") from error

    return decode_dataclass


def _may_be_missing(field: dataclasses.Field[Any]) -> bool:
    return field.default is None


def _is_plain(kind: object) -> bool:
    """Tell whether equal values are the same value; of floats, 0.0 and -0.0 are not."""
    if not dataclasses.is_dataclass(kind):
        return cast(type, kind) in (int, str, bool)
    return all(map(_is_plain, typing.get_type_hints(kind).values()))


def _check_names(wanted: Set[str], given: Set[str], where: str) -> None:
    if wanted != given:
        for wrong, said in ((wanted - given, "lacks"), (given - wanted, "has extra")):
            if wrong:
                raise FormatError(f"{where} {said} field '{min(wrong)}'")


def _scalar_decoder(kind: type) -> Decoder:
    def decode_scalar(data: Json, where: str) -> object:
        # Most of a record is scalars: one call each, not two.
        return data if type(data) is kind else _expect(kind, data, where, kind.__name__)

    return decode_scalar


def _float(data: Json, where: str) -> float:
    # Some tools write 1.0 as 1.
    if type(data) is int:
        try:
            return float(data)
        except OverflowError as error:
            raise FormatError(f"{where} is too large a number") from error
    number = cast(float, _expect(float, data, where, "float"))
    # json reads 1e999 as infinity.
    if not math.isfinite(number):
        raise FormatError(f"{where} is too large a number")
    return number


def _expect(kind: type, data: Json, where: str, name: str) -> Json:
    # Exactly: a bool is an int in Python, but not in JSON.
    if type(data) is not kind:
        raise FormatError(f"{where} must be {name}, got {json.dumps(data)[:60]}")
    return data
