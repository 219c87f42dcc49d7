"""The other files of a run: whether they tell of the same run as its record."""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records import metrics_log
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong

_FINGERPRINT = re.compile(r".+-seed\d+-([0-9a-f]{8})")


def check_config(submission: Submission) -> Iterator[Remark]:
    """Compare ``config.yaml`` and the folder's name with the record's settings."""
    folder, fingerprint = submission.folder, serialize.fingerprint(submission.config)
    named = _FINGERPRINT.fullmatch(folder.path.resolve().name)
    if named is None:
        yield Unchecked("hash of the settings: the folder's name holds none")
    elif named[1] != fingerprint:
        yield Wrong(f"the folder's name has {named[1]}, the settings' hash is {fingerprint}")
    if not folder.config.exists():
        yield Unchecked(f"settings: there is no {folder.config.name} beside the record")
        return
    # As text, not as YAML: nothing in a stranger's file is to be interpreted.
    there = folder.config.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = serialize.to_yaml(submission.config).splitlines()
    for number, (line, right) in enumerate(zip_longest(there, wanted, fillvalue=""), 1):
        if line != right:
            yield Wrong(
                f"{folder.config.name} line {number} is {line.strip()!r}, "
                f"the record's settings write {right.strip()!r}"
            )
            return


def check_metrics(submission: Submission) -> Iterator[Remark]:
    """Add up ``metrics.jsonl``, and compare with what the record says that training took."""
    if not submission.trains:
        return
    path = submission.folder.metrics
    if not path.exists():
        yield Unchecked(f"training: there is no {path.name} beside the record")
        return
    try:
        found = _totals(metrics_log.read(path))
    except (ValueError, KeyError, TypeError) as error:
        yield Wrong(f"{path.name} cannot be read: {error}")
        return
    training = submission.record.training
    said = {
        "iterations": training.iterations,
        "episodes": training.episodes,
        "turns": training.turns,
        "decisions": training.decisions,
        "seconds.play": training.seconds.get("play", 0.0),
        "seconds.update": training.seconds.get("update", 0.0),
    }
    for name, number in found.items():
        # Seconds are rounded to a thousandth.
        if not math.isclose(said[name], number, abs_tol=0.001):
            yield Wrong(f"training.{name} is {said[name]}, {path.name} gives {number:g}")


def _totals(lines: list[Mapping[str, Any]]) -> dict[str, float]:
    if [line["iteration"] for line in lines] != list(range(len(lines))):
        raise ValueError("its iterations are not in order")
    return {
        "iterations": float(len(lines)),
        "episodes": math.fsum(line["episodes"] for line in lines),
        "turns": math.fsum(round(line["turns"] * line["episodes"]) for line in lines),
        "decisions": math.fsum(line["decisions"] for line in lines),
        "seconds.play": math.fsum(line["play_s"] for line in lines),
        "seconds.update": math.fsum(line["update_s"] for line in lines),
    }
