"""Checks the other files of a run against its record: ``config.yaml`` and ``metrics.jsonl``."""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from layerbench.benchmarks.config import serialize
from layerbench.benchmarks.records import json_codec, metrics_log
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong

_FINGERPRINT = re.compile(r".+-seed\d+-([0-9a-f]{8})")


def check_config(submission: Submission) -> Iterator[Remark]:
    """Compare ``config.yaml`` and the folder's name with the record's settings."""
    folder, fingerprint = submission.folder, serialize.fingerprint(submission.config)
    # Resolved, since the folder may be given as `.`, which has no name.
    match = _FINGERPRINT.fullmatch(folder.path.resolve().name)
    if match is None:
        yield Unchecked("hash of the settings: the folder's name holds none")
    elif match[1] != fingerprint:
        yield Wrong(f"the folder's name has {match[1]}, the settings' hash is {fingerprint}")
    if not folder.config.exists():
        yield Unchecked(f"settings: there is no {folder.config.name} beside the record")
        return
    # As text, not as YAML: nothing in a stranger's file is to be interpreted.
    try:
        lines = json_codec.read_text(folder.config).splitlines()
    except (ValueError, OSError) as error:
        yield Wrong(f"{folder.config.name} cannot be read: {error}")
        return
    expected_lines = serialize.to_yaml(submission.config).splitlines()
    for number, (line, expected) in enumerate(zip_longest(lines, expected_lines, fillvalue=""), 1):
        if line != expected:
            yield Wrong(
                f"{folder.config.name} line {number} is {line.strip()[:200]!r}, "
                f"the record's settings write {expected.strip()!r}"
            )
            return


def check_metrics(submission: Submission) -> Iterator[Remark]:
    """Compare the sums over ``metrics.jsonl`` with the record's counts of training."""
    if not submission.trains:
        return
    path = submission.folder.metrics
    if not path.exists():
        yield Unchecked(f"training: there is no {path.name} beside the record")
        return
    try:
        totals = _totals(metrics_log.read(path))
    except (ValueError, KeyError, TypeError, ArithmeticError, OSError) as error:
        yield Wrong(f"{path.name} cannot be read: {error}")
        return
    training = submission.record.training
    recorded = {
        "iterations": training.iterations,
        "episodes": training.episodes,
        "turns": training.turns,
        "decisions": training.decisions,
        "seconds.play": training.seconds.get("play", 0.0),
        "seconds.update": training.seconds.get("update", 0.0),
    }
    for name, number in totals.items():
        # Seconds are rounded to a thousandth.
        if not math.isclose(recorded[name], number, abs_tol=0.001):
            yield Wrong(f"training.{name} is {recorded[name]}, {path.name} gives {number:g}")


def _totals(lines: list[Mapping[str, Any]]) -> dict[str, float]:
    if [line["iteration"] for line in lines] != list(range(len(lines))):
        raise ValueError("its iterations are not in order")
    return {
        "iterations": float(len(lines)),
        "episodes": math.fsum(line["episodes"] for line in lines),
        # A line has the mean turns of its episodes.
        "turns": math.fsum(round(line["turns"] * line["episodes"]) for line in lines),
        "decisions": math.fsum(line["decisions"] for line in lines),
        "seconds.play": math.fsum(line["play_s"] for line in lines),
        "seconds.update": math.fsum(line["update_s"] for line in lines),
    }
