"""Frozen dataclasses as JSON, with every name and type checked on the way in.

A field whose default is None is optional: it is left out of the JSON where its value is None.
"""

import dataclasses
import functools
import json
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from layerbench import files, untrusted_files
from layerbench.benchmarks.errors import FormatError, SchemaError, UserError

T = TypeVar("T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Decoder: TypeAlias = Callable[[Json, str], object]
"""Decodes a JSON value; the text is the value's name in errors."""


_MAX_SHARED = 65_536  # decoded values of one class that are kept and given out again

# Bounds on what others may have written, which nothing that layerbench writes comes near: without
# them, a file could fill the memory, or a number overflow in whatever is computed from it.
LARGEST_FILE = 64_000_000  # bytes
_LONGEST_TEXT = 1_000_000
_LARGEST_INT = 2**53  # above, readers in other languages round
_SMALLEST_FLOAT, _LARGEST_FLOAT = 1e-100, 1e18  # besides 0
_DEEPEST = 16  # levels within a value of any form


def dumps(value: object) -> str:
    """Write a dataclass as JSON, indented, in the order of its fields.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(encode(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write(path: Path, value: object) -> None:
    """Write a dataclass to a file atomically."""
    replace_text(path, dumps(value))


def replace_text(path: Path, text: str) -> None:
    """Write a file atomically: neither a reader nor a crash sees half of it."""
    files.replace(path, text.encode())


def read(cls: type[T], path: Path) -> T:
    """Read a dataclass from a file.

    Raises:
        FormatError: As for ``loads``; the message names the file.
    """
    return loads(cls, read_text(path), where=str(path))


def read_text(path: Path) -> str:
    """Read the text of a JSON file.

    Raises:
        FormatError: It is no file of UTF-8, or too large; the message names it.
    """
    try:
        return untrusted_files.read_bytes(path, most=LARGEST_FILE).decode("utf-8")
    except UserError as error:
        raise FormatError(str(error)) from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not JSON: {error}") from error


def loads(cls: type[T], text: str, *, where: str) -> T:
    """Read a dataclass from JSON.

    Args:
        cls: The dataclass to fill.
        text: JSON as ``dumps`` writes it.
        where: Name of the JSON in errors, for example the file.

    Raises:
        FormatError: The text is not JSON, or a field is missing, unknown or of another type, or
            the dataclass refuses the values.
    """
    return decode(cls, parse(text, where=where), where=where)


def parse(text: str, *, where: str) -> Json:
    """Read JSON of any form.

    Raises:
        FormatError: The text is not JSON, or an object in it has a key twice.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_object)
        if "\\ud" in text.lower():
            # A lone surrogate: JSON can escape half a character, but no UTF-8 file can hold it.
            json.dumps(data, ensure_ascii=False).encode()
        return data
    # Deep nesting ends in a RecursionError of the parser, which is no ValueError.
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where} is not JSON: {error}") from error


def encode(value: object) -> Json:
    """Turn dataclasses, mappings and tuples into JSON's objects and lists."""
    if dataclasses.is_dataclass(value):
        items = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {
            field.name: encode(item)
            for field, item in items.items()
            if item is not None or not _is_optional(field)
        }
    if isinstance(value, Mapping):
        mapping = cast(Mapping[object, object], value)
        return {str(key): encode(item) for key, item in mapping.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in cast(list[object], value)]
    return cast(Json, value)


def decode(cls: type[T], data: Json, *, where: str) -> T:
    """Fill a dataclass from parsed JSON.

    Raises:
        FormatError: As for ``loads``.
    """
    return cast(T, _decoder(cls)(data, where))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON leaves open which of two values counts, and readers differ.
    items = dict(pairs)
    if len(items) < len(pairs):
        seen = Counter(name for name, _ in pairs)
        [(name, _)] = seen.most_common(1)
        raise ValueError(f"the key '{name[:80]}' is there twice")
    return items


@functools.cache
def _decoder(hint: object) -> Decoder:
    """Make the decoder of a type; cached, because inspecting types is slow."""
    if hint is Any:
        return _anything
    if dataclasses.is_dataclass(hint):
        return _dataclass_decoder(cast(type, hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    # The next three read ``tuple[T, ...]``, ``Mapping[str, T]`` and ``T | None`` in these forms
    # alone: any further argument of the type would be ignored.
    if origin is tuple:
        return _tuple_decoder(_decoder(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_decoder(_decoder(arguments[1]))
    if origin is types.UnionType:
        return _nullable_decoder(_decoder(arguments[0]))
    own_bounds: dict[object, Decoder] = {float: _float, int: _int, str: _text}
    return own_bounds.get(hint) or _scalar_decoder(cast(type, hint))


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


def _dataclass_decoder(cls: type) -> Decoder:
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    optional = {field.name for field in fields if _is_optional(field)}
    # An optional ``T | None`` is missing or a T, but never null.
    given_as = {n: typing.get_args(hints[n])[0] if n in optional else hints[n] for n in hints}
    decoders = {field.name: _decoder(given_as[field.name]) for field in fields}
    # Thousands of records hold the same few counts: equal ones share an object in memory.
    make = functools.lru_cache(maxsize=_MAX_SHARED)(cls) if _is_plain(cls) else cls

    def decode_dataclass(data: Json, where: str) -> object:
        """Decode an object; ``FormatError`` names the field, from ``where`` on."""
        given = cast(dict[str, Json], _expect(dict, data, where, "an object"))
        # Most dataclasses have no optional fields: they are spared a new set for each object.
        _check_names(decoders.keys(), given.keys() | optional if optional else given.keys(), where)
        values = [
            read(given[name], f"{where}.{name}") if name in given else None
            for name, read in decoders.items()
        ]
        try:
            return make(*values)
        except SchemaError:
            raise
        except ValueError as error:
            raise FormatError(f"{where}: {error}") from error

    return decode_dataclass


def _is_optional(field: dataclasses.Field[Any]) -> bool:
    return field.default is None


def _is_plain(hint: object) -> bool:
    """Tell whether equal values are interchangeable; floats are not, since 0.0 == -0.0."""
    if not dataclasses.is_dataclass(hint):
        return cast(type, hint) in (int, str, bool)
    return all(map(_is_plain, typing.get_type_hints(hint).values()))


def _check_names(expected: Set[str], given: Set[str], where: str) -> None:
    if expected != given:
        for wrong, verb in ((expected - given, "lacks"), (given - expected, "has extra")):
            if wrong:
                raise FormatError(f"{where} {verb} field '{min(wrong)}'")


def _scalar_decoder(cls: type) -> Decoder:
    def decode_scalar(data: Json, where: str) -> object:
        # The test of _expect, inlined: most of a record is scalars, and a call for each is slow.
        return data if type(data) is cls else _expect(cls, data, where, cls.__name__)

    return decode_scalar


def _text(data: Json, where: str) -> str:
    text = cast(str, data if type(data) is str else _expect(str, data, where, "str"))
    if len(text) > _LONGEST_TEXT:
        raise FormatError(f"{where} is too long a text")
    return text


def _int(data: Json, where: str) -> int:
    number = cast(int, data if type(data) is int else _expect(int, data, where, "int"))
    if not -_LARGEST_INT <= number <= _LARGEST_INT:
        raise FormatError(f"{where} is too large a number")
    return number


def _float(data: Json, where: str) -> float:
    # JavaScript and jq write 1.0 as 1.
    if type(data) is int:
        return float(_int(data, where))
    number = cast(float, _expect(float, data, where, "float"))
    # json reads 1e999 as infinity.
    if not abs(number) <= _LARGEST_FLOAT:
        raise FormatError(f"{where} is too large a number")
    if 0.0 < abs(number) < _SMALLEST_FLOAT:
        raise FormatError(f"{where} is too small a number")
    return number


def _anything(data: Json, where: str) -> Json:
    level: list[Json] = [data]
    for _ in range(_DEEPEST):
        inner: list[Json] = []
        for value in level:
            if isinstance(value, dict | list):
                inner += value.values() if isinstance(value, dict) else value
        level = inner
        if not level:
            return data
    raise FormatError(f"{where} nests deeper than {_DEEPEST} levels")


def _expect(cls: type, data: Json, where: str, name: str) -> Json:
    # Exactly: a bool is an int in Python, but not in JSON.
    if type(data) is not cls:
        # What holds others is not shown: it may nest too deeply to be written.
        is_scalar = not isinstance(data, dict | list)
        shown = json.dumps(data)[:60] if is_scalar else f"a {type(data).__name__}"
        raise FormatError(f"{where} must be {name}, got {shown}")
    return data
