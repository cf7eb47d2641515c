"""What the trainer is asked to do while it trains: cancel, pause, checkpoint; by its owner, a signal, or the clock."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import Any, Protocol


class Line(Protocol):
    """The trainer's line to its owner: a fork server's channel, or a terminal."""

    @property
    def isolation(self) -> tuple[str, ...]:
        """The walls round this process."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send an event."""

    def poll(self) -> list[dict[str, Any]]:
        """Return the commands that have arrived."""


class Stop(Exception):
    """Training is to end here: ``why`` is "cancel", "pause" or "timeout"."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Control:
    """Reads commands; the first request to stop wins. SIGTERM asks for a pause."""

    def __init__(self, line: Line, *, runtime_seconds: float) -> None:
        self.checkpoint_requested = False
        self._line = line
        self._deadline = time.monotonic() + runtime_seconds
        self._stop: str | None = None

    def install_signals(self) -> None:
        """Take SIGTERM as "pause"; it works from the main thread alone."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def look(self) -> None:
        """Read what has arrived.

        Raises:
            Stop: training is to end.
        """
        for message in self._line.poll():
            self._obey(message.get("command"))
        if self._stop is None and time.monotonic() >= self._deadline:
            self._stop = "timeout"
        if self._stop is not None:
            raise Stop(self._stop)

    def _obey(self, command: object) -> None:
        if command == "checkpoint":
            self.checkpoint_requested = True
        elif command in ("cancel", "pause"):
            self._stop = self._stop or str(command)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop = self._stop or "pause"
