"""The model that comes with layerbench: small enough for a laptop, trained on generated games."""

from pathlib import Path


def model_dir() -> Path:
    """Name the folder that transformers loads the embedded model from."""
    return Path(__file__).parent / "weights"
