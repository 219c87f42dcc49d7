"""The embedded models: part of the package, small enough for a laptop."""

from pathlib import Path

FOLDERS = {
    "embedded": "weights",
    "embedded-webshop": "weights-webshop",
    "embedded-keydoor": "weights-keydoor",
    "embedded-any": "weights-any",
}
"""Folder of each model, beside this file."""

PLAYS = {"alfworld": "embedded", "webshop": "embedded-webshop", "keydoor": "embedded-keydoor"}
"""The model that has the words of an environment."""


def model_dir(name: str = "embedded") -> Path:
    """Give the folder that transformers loads an embedded model from."""
    return Path(__file__).parent / FOLDERS[name]
