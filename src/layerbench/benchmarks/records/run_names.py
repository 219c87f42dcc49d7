"""Run folders by name: where a run of some settings lies, and which run a model's name means."""

import re
from pathlib import Path

from layerbench.agents.pretrained import names
from layerbench.benchmarks.config import plain_yaml, serialize
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.records.json_codec import Json


def default_path(config: RunConfig) -> Path:
    """Derive the run's folder from the settings: equal settings have equal folders."""
    model = (run_of(config.model.name) or Path(config.model.name)).name.replace(":", "-")
    # What follows the @ is a path of its own; the fingerprint tells different ones apart.
    selection = serialize.asked_layers(config).partition("@")[0]
    # Of random:3:0 the second colon stays a sign between numbers.
    selection = selection.replace(":", "", 1)
    selection = re.sub("[:/ ]", "-", selection)
    name = "-".join(
        (
            config.env.name,
            model,
            selection if not selection[:1].isdigit() else f"layer{selection}",
            config.algorithm.name,
            config.preset,
            f"seed{config.seed}",
            serialize.fingerprint(config),
        )
    )
    return Path(config.run_root) / name


def run_of(name: str) -> Path | None:
    """Find the run folder that a model's name means: a run, or a checkpoint in it; else None."""
    path = Path(name)
    run = path.parent.parent if path.parent.name in ("checkpoints", "best") else path
    # transformers writes config.json: that folder is a model, whatever else lies in it.
    is_run = (run / "config.yaml").is_file() and not (run / "config.json").exists()
    return run if is_run and not names.is_known(name) else None


def read_settings(run: Path) -> dict[str, Json]:
    """Read the settings in a run's folder, unchecked.

    Raises:
        SettingsError: The file has no settings, or cannot be read.
    """
    return plain_yaml.read_file(run / "config.yaml")
