#!/usr/bin/env python
"""Rewrites run folders of before 0.1.0 in the form of 0.1.0; nothing that was measured changes.

    python tools/rewrite_records.py docs/study/records docs/study/webshop ...

Each argument is a folder of run folders. What those records leave out is written down: settings
that came later, with the value that leaves a run as it was; the mean return of ALFWorld's
episodes, which pays 1 for a won episode and nothing else; the hashes of the files of a model that
is found here by its name and weights, and not trained further; and metrics that were not measured,
as null. A folder is renamed after its new fingerprint, as the same command would name it today.
"""

import argparse
import functools
import json
import operator
import sys
from pathlib import Path
from typing import Any

import yaml

from layerbench.agents.pretrained import model_files, names
from layerbench.agents.pretrained.loading import load_model, weights_hash
from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records.run_record import RunRecord

# Where nothing is said of these, a run was made without them.
SETTINGS: dict[str, Any] = {
    "parts": [],
    "env.timeout_s": 300.0,
    "env.options.goal_words": "plain",
    "model.attention": "auto",
    "model.base_url": "",
    "model.backend": "transformers",
    "model.cache_gb": 2.0,
    "model.sleep": False,
    "agent.thinking": True,
    "agent.date": "2024-07-26",
    "agent.answer_form": "strict",
    "train.control_learning_rate": 0.01,
    "train.schedule": "constant",
    "train.lr_scale": "",
    "train.gradient_checkpointing": False,
    "train.importance_cap": 0.0,
    "train.lora_rank": 0,
    "train.lora_learning_rate": 0.0,
}
NOT_MEASURED = ("mismatch", "max_mismatch", "capped")


def main() -> int:
    """Rewrite every run folder below the arguments, and print the new names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path)
    for folder in parser.parse_args().folders:
        for path in sorted(folder.glob("*/record.json")):
            sys.stdout.write(f"{rewrite(path.parent)}\n")
    return 0


def rewrite(run: Path) -> Path:
    """Rewrite one run folder, and return its new path."""
    data = json.loads((run / "record.json").read_text())
    before = serialize.fingerprint_of(data["settings"])
    data["settings"] = complete(data["settings"])
    for evaluation in data["evaluations"]:
        if "mean_return" not in evaluation:
            assert data["env"]["name"] == "alfworld", f"{run}: no return can be told"
            count = evaluation["count"]
            evaluation["mean_return"] = count["successes"] / count["planned"]
    model = data["model"]
    if "files_sha256" not in model:
        found = files_of(model["name"], model["weights_sha256"], model["dtype"])
        model |= {"files_sha256": found} if found else {}
    record = RunRecord.from_json(json.dumps(data), where=str(run))
    (run / "record.json").write_text(record.to_json())
    settings = complete(yaml.safe_load((run / "config.yaml").read_text()))
    (run / "config.yaml").write_text(serialize.to_yaml(serialize.restore(settings)))
    metrics = run / "metrics.jsonl"
    if metrics.exists():
        measures_kl = bool(data["settings"]["train"]["kl_coef"])
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        metrics.write_text("".join(f"{json.dumps(_line(ln, measures_kl))}\n" for ln in lines))
    after = serialize.fingerprint_of(data["settings"])
    renamed = run.with_name(run.name.replace(before, after))
    run.rename(renamed)
    return renamed


@functools.cache
def files_of(name: str, weights_sha256: str, dtype: str) -> dict[str, str] | None:
    """Hash the files of a model that comes with layerbench or was fetched; None for any other."""
    folder = model_files.folder_of(name, revision="") if names.is_known(name) else None
    if folder is None:
        return None
    model, _ = load_model(name, dtype=dtype, device="cpu")
    return model_files.hashes(folder) if weights_hash(model) == weights_sha256 else None


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Write down the settings that came later, in the order of today's records."""
    for name, value in SETTINGS.items():
        *sections, last = name.split(".")
        section = functools.reduce(operator.getitem, sections, settings)
        # Of ALFWorld's options, the records of other environments have none.
        if sections != ["env", "options"] or settings["env"]["name"] == "alfworld":
            section.setdefault(last, value)
    read_from = settings.pop("read_from", None)
    ordered = serialize.as_dict(serialize.restore(settings))
    return ordered | ({"read_from": read_from} if read_from else {})


def _line(line: dict[str, Any], measures_kl: bool) -> dict[str, Any]:
    if not measures_kl:
        line["kl"] = None
    return line | {name: line.get(name) for name in NOT_MEASURED}


if __name__ == "__main__":
    sys.exit(main())
