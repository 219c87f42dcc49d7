"""The embedded models: part of the package, small enough for a laptop."""

from pathlib import Path

FOLDERS = {
    "embedded": "weights",
    "embedded-webshop": "weights-webshop",
    "embedded-keydoor": "weights-keydoor",
    "embedded-any": "weights-any",
}
"""Folder of each model, beside this file."""


def model_dir(name: str = "embedded") -> Path:
    """Give the folder that transformers loads an embedded model from."""
    return Path(__file__).parent / FOLDERS[name]
