"""TensorBoard: event files in ``tensorboard/`` of the run's folder, without torch."""

from __future__ import annotations

from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from openevolve_unified.loggers.scalars import Point

_MAX_OPEN = 16
"""Files at a time: a run has a hundred series and more."""


class TensorBoardLogger:
    """A sub-folder for each series."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._writers: dict[str, EventFileWriter] = {}

    def log(self, point: Point) -> None:
        """Write one value; texts go to the page of texts."""
        if isinstance(point.value, str):
            summary = text_pb(point.tag, point.value)
        else:
            summary = scalar_pb(point.tag, point.value)
        event = Event(wall_time=point.time, step=point.step, summary=summary)
        self._writer(point.series).add_event(event)

    def flush(self) -> None:
        """Make what was logged readable."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """End all files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, series: str) -> EventFileWriter:
        writer = self._writers.pop(series, None)
        if writer is None:
            if len(self._writers) >= _MAX_OPEN:
                self._writers.pop(next(iter(self._writers))).close()
            writer = EventFileWriter(str(self._folder / series))
        self._writers[series] = writer  # the last in order is the last that was used
        return writer
