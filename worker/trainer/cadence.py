"""When the next checkpoint is due."""

from __future__ import annotations

import math
from collections.abc import Mapping

_SHORTEST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_SHARE_OF_RUN = 0.25  # by default at most a fifth of an attempt's work is ever lost
_WRITES_PER_WAIT = 20.0  # by default writing takes at most a twentieth of the time


class Cadence:
    """Counts steps, epochs, seconds or minutes since the last checkpoint. ``next_step`` is where to look next."""

    def __init__(self, every: Mapping[str, int | None] | None, *, steps_per_epoch: int, step: int, now: float) -> None:
        chosen = {unit: count for unit, count in (every or {}).items() if count is not None}
        self._seconds = chosen.get("seconds") or chosen.get("minutes", 0) * 60 or None
        self._steps = chosen.get("steps") or chosen.get("epochs", 0) * steps_per_epoch
        self._began = self._last = now
        self._advance(step)

    def is_due(self, step: int, now: float, write_seconds: float) -> bool:
        """Tell whether a checkpoint is due at a step boundary; the last one took ``write_seconds`` to write."""
        if self._steps:
            return step >= self.next_step
        return now - self._last >= self._interval(now, write_seconds)

    def written(self, step: int, now: float) -> None:
        """Start counting again."""
        self._last = now
        self._advance(step)

    def _advance(self, step: int) -> None:
        """Stops lie at multiples of the distance, wherever an attempt began."""
        self.next_step = (step // self._steps + 1) * self._steps if self._steps else math.inf

    def _interval(self, now: float, write_seconds: float) -> float:
        if self._seconds is not None:
            return self._seconds
        grown = min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, _SHARE_OF_RUN * (now - self._began)))
        return max(grown, _WRITES_PER_WAIT * write_seconds)
