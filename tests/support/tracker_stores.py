"""Reads back what trackers have stored, by their own readers."""

import importlib
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Series = Mapping[str, list[tuple[int, float]]]


@dataclass(frozen=True)
class Stored:
    """One run of a store: steps and values by metric, in the order stored, and its settings."""

    metrics: Series
    settings: Mapping[str, str]


def trackio(run: Path) -> Stored:
    api: Any = importlib.import_module("trackio").Api()
    store: Any = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    (found,) = [stored for stored in api.runs("layerbench") if stored.name.startswith(run.name)]
    metrics: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in store.get_logs("layerbench", found.name):
        for name in row.keys() - {"step", "timestamp"}:
            metrics[name].append((row["step"], row[name]))
    return Stored(metrics, {name: str(value) for name, value in found.config.items()})


def tensorboard(run: Path) -> Stored:
    module: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    names = events.Tags()["scalars"]
    metrics = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}
    (text,) = events.Tensors("settings")
    lines = text.tensor_proto.string_val[0].decode().splitlines()
    parts = (line.strip().partition(":") for line in lines)
    return Stored(metrics, {name: value.strip() for name, _, value in parts})


def mlflow(_run: Path) -> Stored:
    client: Any = importlib.import_module("mlflow.tracking").MlflowClient(
        Path("mlruns").resolve().as_uri()
    )
    experiment = client.get_experiment_by_name("layerbench")
    (run,) = client.search_runs([experiment.experiment_id])
    metrics = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert run.info.status == "FINISHED"
    return Stored(metrics, run.data.params)


def wandb(run: Path) -> Stored:
    """Read the newest offline run, which has all of the run's metrics."""
    newest = max((run / "wandb").glob("offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime)
    records: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    metrics: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    settings: dict[str, str] = {}
    for content in _leveldb_records(newest.read_bytes()):
        record = records.Record.FromString(content)
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            if not name.startswith("_"):
                metrics[name].append((record.history.step.num, float(item.value_json)))
        for update in record.run.config.update:
            settings[update.key] = update.value_json.strip('"')
    return Stored(metrics, settings)


def _leveldb_records(data: bytes) -> Iterator[bytes]:
    """Read the records of a log in LevelDB's format, whose file begins with 7 bytes of wandb's."""
    position, record = 7, b""
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""
