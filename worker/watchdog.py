"""Notices a trainer that hangs, or that outstays its time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from services.errors import TrainingFailure

RUNTIME_GRACE_SECONDS = 60.0
STALL_STEPS = 10
"""A trainer may be silent for as long as so many of its steps take, however long that is."""


class Watchdog:
    """Follows what one trainer says. Only time spent listening counts as silence: an outage is not the trainer's."""

    def __init__(self, *, stall_seconds: float, runtime_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._step_seconds = 0.0
        self._silent_seconds = 0.0
        self._deadline = time.monotonic() + runtime_seconds + RUNTIME_GRACE_SECONDS

    def heard(self, events: Sequence[dict[str, Any]], *, listened_seconds: float) -> None:
        """Take in what came while its owner listened for so long."""
        self._silent_seconds = 0.0 if events else self._silent_seconds + listened_seconds
        for event in events:
            if event.get("steps_per_second"):
                self._step_seconds = 1 / event["steps_per_second"]

    def check(self, *, paused_seconds: float) -> None:
        """Raise the failure of a trainer that hangs, or that outstays its time by more than it was ``paused_seconds``.

        Raises:
            TrainingFailure: ``stalled``, ``timeout``.
        """
        if self._silent_seconds > max(self._stall_seconds, STALL_STEPS * self._step_seconds):
            raise TrainingFailure(
                f"The trainer said nothing for {self._silent_seconds:.0f} s.",
                code="stalled",
                failure_class="infrastructure",
                retryable=True,
                hint="Look for a loop in `forward` that may not end, or for a single step that takes minutes.",
            )
        if time.monotonic() > self._deadline + paused_seconds:
            raise TrainingFailure(
                "The trainer did not stop at max_runtime_seconds.",
                code="timeout",
                failure_class="user",
                retryable=False,
                hint="Raise max_runtime_seconds, or train for fewer steps.",
            )
