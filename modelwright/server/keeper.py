"""Keeps a process running: one that ends is said so and started again, later each time it does not last."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from modelwright.server.process import Command, Process, ServerError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_LASTING_SECONDS = 60.0

Report = Callable[[str], None]


class Restartable(Protocol):
    """What a keeper keeps: an embedded server, or a `Program`."""

    @property
    def log(self) -> Path:
        """Where its output goes."""

    @property
    def running(self) -> bool:
        """Whether its process is alive."""

    def start(self) -> None:
        """Start it; raises `ServerError` when that fails."""

    def stop(self) -> None:
        """Stop it in good order; idempotent."""

    def kill(self) -> None:
        """Kill it at once."""


class Program:
    """A command that can be started again and again; it gets ``stop_seconds`` to end when it is asked to."""

    def __init__(self, command: Command, *, stop_seconds: float) -> None:
        self.command = command
        self._stop_seconds = stop_seconds
        self._process = Process(command)

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.command.log

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process.running

    @property
    def pid(self) -> int | None:
        """The number of its (last) process."""
        return self._process.pid

    def start(self) -> None:
        """Start a new process."""
        self._process = Process(self.command)
        self._process.start()

    def stop(self) -> None:
        """Ask it to end, and kill what is left when the time is up."""
        self._process.stop(self._stop_seconds)

    def kill(self) -> None:
        """Kill it and its group at once."""
        self._process.kill()

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        return self._process.log_tail()


class Keeper:
    """Watches one `Restartable`; call `tick` a few times a second."""

    def __init__(self, name: str, kept: Restartable, report: Report) -> None:
        self.name = name
        self.kept = kept
        self._report = report
        self._pause = _FIRST_PAUSE_SECONDS
        self._started_at = time.monotonic()
        self._restart_at: float | None = None

    def start(self) -> None:
        """Start it for the first time."""
        self.kept.start()
        self._started_at = time.monotonic()

    def tick(self) -> None:
        """Notice an end; start again when its pause is over."""
        now = time.monotonic()
        if self._restart_at is not None:
            if now >= self._restart_at:
                self._restart()
        elif not self.kept.running:
            self._schedule(now, f"{self.name} ended unexpectedly")

    def _restart(self) -> None:
        try:
            self.kept.start()
        except ServerError as error:
            self._schedule(time.monotonic(), str(error))
            return
        self._restart_at = None
        self._started_at = time.monotonic()
        self._report(f"{self.name} runs again")

    def _schedule(self, now: float, why: str) -> None:
        if now - self._started_at > _LASTING_SECONDS:
            self._pause = _FIRST_PAUSE_SECONDS
        self._restart_at = now + self._pause
        self._report(f"{why}; starting it again in {self._pause:g} s (log: {self.kept.log})")
        self._pause = min(_LONGEST_PAUSE_SECONDS, self._pause * 2)
