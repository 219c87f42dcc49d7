"""The embedded models: part of the package, small enough for a laptop."""

from pathlib import Path

EMBEDDED = "embedded"
"""Name of the model for ALFWorld, WebShop, mathematics and code."""

FOLDERS = {
    EMBEDDED: "weights",
    "embedded-keydoor": "weights-keydoor",
    "embedded-any": "weights-any",
}
"""Folder of each model, beside this file."""


def model_dir(name: str = EMBEDDED) -> Path:
    """Give the folder that transformers loads an embedded model from."""
    return Path(__file__).parent / FOLDERS[name]
