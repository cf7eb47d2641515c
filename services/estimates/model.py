"""The arithmetic of estimates: a line through what past jobs took, and how wide a range experience asks for."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.estimates.history import Timing
from services.estimates.work import Work

STARTING_SECONDS = 0.1
"""What the first steps of a process and its last checkpoint take, until jobs of different lengths tell."""
OVERHEAD_SECONDS = 0.3
"""From the claim to the first step and from the last one to the end, until there are past jobs."""
_SAME_LENGTH = 1.5
_FARTHEST = 100.0
_NEAREST = 5
_WIDTH = {"past_jobs": (0.8, 1.3), "probe": (0.6, 2.0), "similar_jobs": (0.3, 3.0)}
"""Low and high, as shares of what is likely, until there are `ENOUGH` past estimates to compare with."""
ENOUGH = 10


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of training: ``fixed + per_batch × batches``."""

    fixed: float
    per_batch: float
    longest: float = math.inf
    """The most batches that a job behind this line had."""

    def seconds(self, batches: float) -> float:
        """Return what so many batches take."""
        return self.fixed + self.per_batch * batches


def fit(timings: Sequence[Timing]) -> Line:
    """Return the line through past jobs of one kind that is least wrong in proportion."""
    points = [(one.batches, max(one.training_seconds, 1e-6)) for one in timings]
    longest = max(batches for batches, _ in points)
    if longest < _SAME_LENGTH * min(batches for batches, _ in points):
        seconds = statistics.median(seconds for _, seconds in points)
        fixed = min(STARTING_SECONDS, seconds / 2)
        return Line(fixed, (seconds - fixed) / statistics.median(batches for batches, _ in points), longest)
    aa = sum(1 / seconds**2 for _, seconds in points)
    ab = sum(batches / seconds**2 for batches, seconds in points)
    bb = sum((batches / seconds) ** 2 for batches, seconds in points)
    a, b = sum(1 / seconds for _, seconds in points), sum(batches / seconds for batches, seconds in points)
    fixed = max(0.0, (a * bb - b * ab) / (aa * bb - ab * ab))
    return Line(fixed, max(0.0, (b - fixed * ab) / bb), longest)


def overhead(timings: Sequence[Timing]) -> float:
    """Return what a job takes besides training."""
    return statistics.median(one.overhead_seconds for one in timings) if timings else OVERHEAD_SECONDS


def similar(timings: Sequence[Timing], work: Work, *, by_batch: bool) -> list[float]:
    """Return the seconds of one batch as jobs of similar batches suggest them, nearest first; none if all are far away.

    Similar is what has as many operations, or with ``by_batch`` (the same model) as many rows. Small batches cost the
    same whatever their size, large ones in proportion: in between lies the square root.
    """
    found = []
    for one in timings:
        size, other = (work.batch_size, one.batch_size) if by_batch else (work.operations, _operations(one))
        if size and other and one.batches:
            ratio = size / other
            if 1 / _FARTHEST <= ratio <= _FARTHEST:
                seconds = max(0.0, one.training_seconds - STARTING_SECONDS) or one.training_seconds / 2
                found.append((abs(math.log(ratio)), seconds / one.batches * math.sqrt(ratio)))
    return [seconds for _, seconds in sorted(found)[:_NEAREST]]


def spread(likely: float, basis: str, error: Mapping[str, Any] | None, *, beyond: bool) -> tuple[float, float]:
    """Return low and high: what nine of ten past estimates kept to; doubled downwards ``beyond`` what was ever seen."""
    low, high = _WIDTH[basis]
    if error is not None and error["n"] >= ENOUGH:
        low, high = 1 / (1 + error["p90"]), 1 + error["p90"]
    return likely * low / (2 if beyond else 1), likely * high


def _operations(timing: Timing) -> float | None:
    return None if timing.operations_per_sample is None else float(timing.operations_per_sample) * timing.batch_size
