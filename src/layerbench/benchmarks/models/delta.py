"""A delta: a folder with the parameters that training changed, and a description of their base."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import json_codec

SCHEMA = 1
"""Version of the layout of a delta."""

FACTS, WEIGHTS = "delta.json", "delta.safetensors"


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a delta changes.

    Attributes:
        name: ``embedded``, a folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub; without meaning for a folder.
        dtype: Dtype of the weights.
        weights_sha256: Hash of the weights' names and bytes, in that dtype.
    """

    name: str
    revision: str
    dtype: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Delta:
    """The description in a delta's folder.

    Attributes:
        schema: Version of the layout.
        base: The model that the delta changes.
        layers: The selection that was trained last, as the record names it.
        weights_sha256: Hash of the base's weights with the delta applied.
        file_sha256: Hash of the file of tensors.
    """

    schema: int
    base: Base
    layers: str
    weights_sha256: str
    file_sha256: str


def is_delta(folder: Path) -> bool:
    """Tell whether a folder holds a delta, and not a whole model."""
    # transformers writes config.json: that folder is a whole model, whatever else lies in it.
    return (folder / FACTS).is_file() and not (folder / "config.json").exists()


def read(folder: Path) -> Delta:
    """Read the description of a delta.

    Raises:
        FormatError: It has another form or version.
    """
    path = folder / FACTS
    data = json_codec.parse(json_codec.read_text(path), where=str(path))
    # The version first: "lacks field" would mislead about a delta of another version.
    version = data.get("schema") if isinstance(data, dict) else None
    # True == 1 in Python.
    if version != SCHEMA or version is True:
        raise FormatError(
            f"{path} has schema {version!r}, this version of layerbench reads schema {SCHEMA}"
        )
    return json_codec.decode(Delta, data, where=str(path))
