#!/usr/bin/env python
"""Writes ``docs/settings.md``: every setting, from where it is declared and given its values.

    python tools/write_settings.py

Names, types, ranges and meanings are those of the dataclasses in ``benchmarks/config/schema.py``
and ``rl/settings.py``; values are those of the YAML files in ``benchmarks/config/conf``.
"""

import dataclasses
import inspect
import math
import re
import sys
import typing
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml

from layerbench.benchmarks.config import schema, sections, validate
from layerbench.envs import references, registry
from layerbench.rl.settings import Range

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/settings.md"
CONF = Path(schema.__file__).parent / "conf"

# Combining, reading from sweeps and the prompt file fill these in.
NOT_TYPED = ("parts", "read_from", "prompt")
TYPES = {int: "integer", float: "number", bool: "`true` or `false`", str: "text"}

INTRODUCTION = """# Settings

<!-- Written by `python tools/write_settings.py` from dataclasses and YAML files: edit those. -->

A setting is typed as `NAME=VALUE` behind a command that makes runs, as in `layerbench run alfworld
train.iterations=60 eval.tasks=200`. A list is typed with commas: `env.eval_splits=seen,unseen`.
`layerbench run ENV --settings` shows all settings with the values that the run would have.

`--config FILE` reads settings back: a run's `config.yaml`, what `--settings` shows, or a file
with some of them. What is typed beside it wins over the file, and the file over the preset; the
run's folder is that of the same settings typed. Layers taken from a sweep (`top:5@RESULTS`) are
looked up again, and refused if they are others by now. A file cannot choose `run_root`,
`model.trust_remote_code` or an endpoint's address: those must be typed. With another `--model`,
the file's `model.revision` and `agent.style` do not count.

Values come from the YAML files of `src/layerbench/benchmarks/config/conf`, where later ones win:
`run.yaml`, the preset's (`quick`, `quick-generate`, `default`, `small`, `paper`, `paper-code` or
`paper-math`), the algorithm's; then from the
environment's `SPEC` (its `settings`, then its `presets`); then what is typed. The column *default*
has the value of `run.yaml` first, then those of presets, algorithms and environments.
"""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


def page() -> str:
    """Compose the page from the code as it is."""
    values, parts = _values(), [INTRODUCTION]
    top = [row for row in _rows(schema.RunConfig, "") if row[0] not in NOT_TYPED]
    flat = [row for row in top if not dataclasses.is_dataclass(row[1])]
    parts.append(_section("The run", flat, values))
    for name, kind, meaning in top:
        if dataclasses.is_dataclass(kind):
            rows = [row for row in _rows(kind, name) if row[0] != "env.options"]
            parts.append(_section(f"`{name}`: {meaning.rstrip('.').lower()}", rows, values))
    parts += map(_options, references.own_names())
    return "\n".join(parts)


def _section(
    title: str, rows: list[tuple[str, Any, str]], values: Mapping[str, Mapping[str, str]]
) -> str:
    lines = [
        f"## {title}\n",
        "| setting | value | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    words: list[str] = []
    for name, hint, meaning in rows:
        allowed = _words(validate.PRESETS) if name == "preset" else _type(hint)
        lines.append(f"| `{name}` | {allowed} | {_default(values[name])} | {_cell(meaning)} |")
        if isinstance(hint, type) and issubclass(hint, StrEnum):
            words.append(f"\n`{name}`: {_enum_words(inspect.getdoc(hint) or '', hint)}")
    return "\n".join([*lines, *words, ""])


def _rows(kind: type, section: str) -> Iterator[tuple[str, Any, str]]:
    """List a class's settings: full name, type and meaning; flat classes among their holder's."""
    hints = typing.get_type_hints(kind, include_extras=True)
    meanings = _attributes(kind)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if hint in sections.FLAT:
            yield from _rows(hint, section)
        else:
            yield f"{section}.{field.name}".lstrip("."), hint, meanings[field.name]


def _attributes(kind: type) -> dict[str, str]:
    """Read the ``Attributes:`` of a docstring."""
    _, _, text = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    text = text.partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", text, re.MULTILINE)
    return {name: _plain(meaning) for name, meaning in entries}


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _enum_words(text: str, kind: type[StrEnum]) -> str:
    """Name members as they are typed."""
    for member in kind:
        text = re.sub(rf"``({kind.__name__}\.)?{member.name}``", f"``{member.value}``", text)
    return "\n\n".join(map(_plain, text.split("\n\n")))


def _type(hint: Any) -> str:  # noqa: ANN401 - a type, or what typing makes of one
    if get_origin(hint) is Annotated:
        plain, *metadata = get_args(hint)
        allowed = [_range(item) for item in metadata if isinstance(item, Range)]
        return ", ".join([TYPES[plain], *allowed])
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _words(hint)
    if get_origin(hint) is typing.Literal:
        return _words(get_args(hint))
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        return (
            "list of names"
            if item is str
            else f"list of {_type(item).replace('number', 'numbers')}"
        )
    return TYPES[hint]


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _range(allowed: Range) -> str:
    low = "above" if allowed.low_excluded else "at least"
    high = "below" if allowed.high_excluded else "at most"
    limits = [f"{low} {allowed.low}"]
    return ", ".join(limits + [f"{high} {allowed.high}"] * math.isfinite(allowed.high))


def _default(values: Mapping[str, str]) -> str:
    alone, by_file = values.get("", ""), dict(values)
    by_file.pop("", None)
    files = defaultdict(list)
    for name, value in by_file.items():
        files[value].append(name)
    others = [f"{', '.join(names)}: `{value}`" for value, names in files.items()]
    return "; ".join(([f"`{alone}`"] if alone else []) + others) or "typed"


def _values() -> dict[str, dict[str, str]]:
    """Read the values of every setting: by the file that gives them, empty for ``run.yaml``."""
    values: defaultdict[str, dict[str, str]] = defaultdict(dict)
    run = yaml.safe_load((CONF / "run.yaml").read_text())
    chosen: dict[str, str] = {}
    for entry in run.pop("defaults"):
        chosen |= entry if isinstance(entry, dict) else {}
    for name, value in _flat(run):
        values[name][""] = value
    for folder in ("preset", "algorithm"):
        for path in sorted((CONF / folder).glob("*.yaml")):
            for name, value in _flat(yaml.safe_load(path.read_text())):
                values[name][path.stem] = value
    for env in map(registry.find, references.own_names()):
        for field in ("train_split", "eval_splits", "max_turns"):
            values[f"env.{field}"].pop("", None)
            values[f"env.{field}"][env.name] = _written(getattr(env, field))
        for preset, settings in {"": env.settings, **env.presets}.items():
            for name, value in settings.items():
                values[name][f"{preset} with {env.name}" if preset else env.name] = _written(value)
    # Each file names itself; which one is taken is said in run.yaml, or by a preset.
    values["preset"] = {"": chosen["preset"]}
    own = {p: a for p, a in values["algorithm.name"].items() if p in validate.PRESETS}
    values["algorithm.name"] = {"": chosen["algorithm"], **own}
    values["env.name"] = values["env.origin"] = {}
    return values


def _flat(content: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        full_name = f"{section}.{name}".lstrip(".")
        if isinstance(value, dict):
            yield from _flat(value, full_name)
        else:
            yield full_name, _written(value)


def _written(value: object) -> str:
    """Write a value as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else "null" if value is None else str(value)


def _options(name: str) -> str:
    """Tabulate an environment's options, with what its docstring says of them."""
    spec = references.own_specs()[name]
    lines = [
        f"## `env` of {name}: its own options\n",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
    ]
    meanings = spec.documented_options()
    for option, value in spec.own_options().items():
        meaning = _cell(_plain(meanings[option]))
        lines.append(f"| `env.{option}` | `{_written(value)}` | {meaning} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
