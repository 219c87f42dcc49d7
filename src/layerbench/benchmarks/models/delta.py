"""A delta: what training changed, and which base model it belongs to, as a folder of its own."""

from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import json_codec

SCHEMA = 1
"""Version of the layout of a delta."""

FACTS, WEIGHTS = "delta.json", "delta.safetensors"


@dataclass(frozen=True, slots=True)
class Base:
    """The model that a delta is put into.

    Attributes:
        name: ``embedded``, a folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub; says nothing about a folder.
        dtype: Of its weights.
        weights_sha256: Hash of its weights' names and bytes, in that dtype.
    """

    name: str
    revision: str
    dtype: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class Delta:
    """What a delta's folder says of itself.

    Attributes:
        schema: Version of the layout.
        base: What it is put into.
        layers: The selection that was trained last, as the record names it.
        weights_sha256: Hash of the base's weights with the delta in them.
        file_sha256: Hash of the file of its tensors.
    """

    schema: int
    base: Base
    layers: str
    weights_sha256: str
    file_sha256: str


def is_delta(folder: Path) -> bool:
    """Tell whether a folder holds a delta, and no whole model."""
    return (folder / FACTS).is_file() and not (folder / "config.json").exists()


def read(folder: Path) -> Delta:
    """Read what a delta says of itself.

    Raises:
        FormatError: It is not in the form of one, or of another version.
    """
    path = folder / FACTS
    data = json_codec.parse(path.read_text(encoding="utf-8"), where=str(path))
    # The version first: a missing field of another version would only confuse.
    version = data.get("schema") if isinstance(data, dict) else None
    if version != SCHEMA or version is True:
        raise FormatError(
            f"{path} has schema {version!r}, this version of layerbench reads schema {SCHEMA}"
        )
    return json_codec.decode(Delta, data, where=str(path))
