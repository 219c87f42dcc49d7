"""TensorBoard: event files in the run's folder."""

import importlib
import time
from collections.abc import Mapping
from typing import Any

from layerbench.benchmarks.trackers.types import TrackedRun

# As modules without types; not by torch's writer, since importing torch takes seconds.
_events: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
_summaries: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
_text: Any = importlib.import_module("tensorboard.plugins.text.summary_v2")
_reader: Any = importlib.import_module("tensorboard.backend.event_processing.event_accumulator")
_writer: Any = importlib.import_module("tensorboard.summary.writer.event_file_writer")


class TensorboardTracker:
    """Writes ``RUN/tensorboard``, which ``tensorboard --logdir runs`` finds."""

    first = 0

    def __init__(self, run: TrackedRun) -> None:
        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        self.logged = _logged(str(folder))
        self._writer = _writer.EventFileWriter(str(folder))
        if not self.logged:
            # As a block of code in markdown.
            lines = [f"    {name}: {value}" for name, value in run.settings.items()]
            self._add(_text.text_pb("settings", "\n".join(lines)), step=0)

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        scalars = [
            _summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()
        ]
        self._add(_summaries.Summary(value=scalars), step=step)
        self._writer.flush()

    def finish(self, *, finished: bool) -> None:
        self._writer.close()

    def _add(self, summary: object, *, step: int) -> None:
        event = _events.Event(wall_time=time.time(), step=step, summary=summary)
        self._writer.add_event(event)


def _logged(folder: str) -> dict[str, int]:
    # 0 keeps all events, instead of a sample of them.
    events = _reader.EventAccumulator(folder, size_guidance={"scalars": 0})
    events.Reload()
    return {tag: max(e.step for e in events.Scalars(tag)) for tag in events.Tags()["scalars"]}


start = TensorboardTracker
