"""What a process that is not the first of its job leaves unsaid: events, series and checkpoints are the first one's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from worker.trainer.checkpoint import Announce, CheckpointWriter, Snapshot
from worker.trainer.parallel.wire import Wire
from worker.trainer.recorder import Recorder


class QuietLine:
    """Passes on to the first process why this one failed, and nothing else."""

    def __init__(self, wire: Wire, isolation: tuple[str, ...]) -> None:
        self.isolation = isolation
        self._wire = wire

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send a failure."""
        if event["event"] == "failed":
            self._wire.send({"failed": event["error"]})

    def poll(self) -> list[dict[str, Any]]:
        """Return nothing: commands go to the first process."""
        return []


class QuietRecorder(Recorder):
    """Keeps nothing: the first process measures the same."""

    def start(self, step: int) -> None:
        """Begin to drop losses."""
        self.record_loss = _drop

    def record(self, name: str, step: int, value: float | Tensor) -> None:
        """Drop a point."""

    def is_due(self, now: float) -> bool:
        """Return False."""
        return False

    def flush(self, step: int) -> None:
        """Report nothing."""


class QuietWriter(CheckpointWriter):
    """Writes nothing."""

    def snapshot(
        self, step: int, weights: Mapping[str, Tensor], state: Mapping[str, Any], environment: Mapping[str, Any]
    ) -> Snapshot:
        """Return an empty one."""
        return Snapshot(step, {}, {}, None, {}, {})

    def write(self, snapshot: Snapshot, announce: Announce) -> None:
        """Write nothing."""

    def announce_again(self, step: int, announce: Announce) -> None:
        """Announce nothing."""


def quiet_writer() -> QuietWriter:
    """Return a writer without a folder."""
    return QuietWriter(Path(), {})


def _drop(loss: Tensor) -> None:
    """Keep no loss."""
