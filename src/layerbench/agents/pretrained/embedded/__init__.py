"""The models that come with layerbench: small enough for a laptop, trained on generated games."""

from pathlib import Path

FOLDERS = {"embedded": "weights", "embedded-webshop": "weights-webshop"}
"""Where each lies beside this file."""


def model_dir(name: str = "embedded") -> Path:
    """Name the folder that transformers loads an embedded model from."""
    return Path(__file__).parent / FOLDERS[name]
