"""Settings as YAML without references, in which a text has no other meaning.

Not by omegaconf, to which a text such as ``${x}`` refers to another value.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from layerbench import untrusted_files
from layerbench.benchmarks.errors import SettingsError

# Bytes; a run's settings are a fiftieth of it, and YAML is slow to read.
_LARGEST = 100_000
# Levels of sections and lists; settings have four.
_DEEPEST = 16
# Characters of a whole number. Python writes none of thousands of digits, as hexadecimals may have.
_LONGEST_NUMBER = 64
_NUMBER = "tag:yaml.org,2002:int"


def write(settings: Mapping[str, Any]) -> str:
    """Write settings, in their order."""
    return yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False)


def read(text: str) -> object:
    """Read what others may have written, in time and memory in proportion to its length.

    Raises:
        ValueError: It is no YAML such as ``write`` writes: it has references, which can make a
            short text a huge one, a key twice, or nests too deeply.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.YAMLError as error:
        # The text of a YAML error has four lines; its problem is one.
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ValueError(problem) from error


def read_file(path: Path) -> dict[str, Any]:
    """Read the settings in a file, unchecked.

    Raises:
        SettingsError: The file has no settings, or cannot be read.
    """
    try:
        settings = read(untrusted_files.read_bytes(path, most=_LARGEST).decode("utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:
        reason = str(error).removeprefix(f"{path} ")
        raise SettingsError(f"{path} cannot be read: {reason}") from error
    if not isinstance(settings, dict) or not settings:
        raise SettingsError(f"{path} holds no settings of a run")
    return cast(dict[str, Any], settings)


class _PlainLoader(yaml.SafeLoader):
    """Reads what ``write`` writes: no references, no deep nesting, every key once."""

    _depth = 0

    # ``index`` is None for the whole, which PyYAML's types do not know.
    def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401
        if self.check_event(yaml.AliasEvent):  # pyright: ignore[reportUnknownMemberType]
            raise yaml.MarkedYAMLError(problem="it has references (&name and *name)")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"it nests deeper than {_DEEPEST} levels")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and not _is_text(node.value):
            raise yaml.MarkedYAMLError(problem="it has half of a surrogate pair, which is no text")
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = Counter(str(key.value) for key, _ in node.value)
        for name, times in names.items():
            if times > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{name[:80]}' is there twice")
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.MarkedYAMLError(problem=f"{node.value[:20]}... is too long a number")
        return self.construct_yaml_int(node)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_PlainLoader.add_constructor(_NUMBER, _PlainLoader.construct_number)
