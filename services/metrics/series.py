"""Series of points as arrays: packing into segments, and down-sampling that keeps every extreme in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Values = NDArray[np.float64]
Points = tuple[Steps, Values]


def pack(steps: Sequence[int] | Steps, values: Sequence[float] | Values) -> dict[str, Any]:
    """Return the columns of a segment: little-endian int64 steps and float64 values, and where its extremes are.

    Steps that follow one another are not written down: first and last say it all.
    """
    packed, numbers = np.asarray(steps, dtype="<i8"), np.asarray(values, dtype="<f8")
    low, high = int(numbers.argmin()), int(numbers.argmax())  # of several NaN, and before all else, the first
    return {
        "first_step": int(packed[0]),
        "last_step": int(packed[-1]),
        "count": len(packed),
        "steps": b"" if int(packed[-1] - packed[0]) == len(packed) - 1 else packed.tobytes(),
        "values": numbers.tobytes(),
        "low_step": int(packed[low]),
        "low": float(numbers[low]),
        "high_step": int(packed[high]),
        "high": float(numbers[high]),
    }


def unpack(first_step: int, steps: bytes, values: bytes) -> Points:
    """Return the arrays of a segment."""
    numbers = np.frombuffer(values, dtype="<f8")
    if not steps:
        return np.arange(first_step, first_step + len(numbers), dtype="<i8"), numbers
    return np.frombuffer(steps, dtype="<i8"), numbers


def downsample(steps: Steps, values: Values, max_points: int) -> tuple[Steps, Values]:
    """Return at most ``max_points`` points: the minimum and maximum of equal buckets, and both ends.

    A bucket that holds a NaN shows it, so that a single bad step is never averaged away.
    """
    if len(steps) <= max_points:
        return steps, values
    if max_points < 4:
        chosen = np.linspace(0, len(steps) - 1, max_points).astype(np.intp)
        return steps[chosen], values[chosen]
    buckets = (max_points - 2) // 2
    borders = [1 + (len(steps) - 2) * bucket // buckets for bucket in range(buckets + 1)]
    low = [begin + values[begin:end].argmin() for begin, end in pairwise(borders)]
    high = [begin + values[begin:end].argmax() for begin, end in pairwise(borders)]
    chosen = np.unique(np.concatenate(([0], low, high, [len(steps) - 1])))
    return steps[chosen], values[chosen]


def downsample_extremes(counts: Steps, lows: Points, highs: Points, ends: Points, max_points: int) -> Points:
    """Do what `downsample` does for runs of points of which the extremes alone are known.

    Args:
        counts: how many points each run has; there are more runs than buckets.
        lows, highs: the lowest and the highest point of each run.
        ends: the first and the last point of all.
        max_points: at least 4.

    Returns:
        At most ``max_points`` points: buckets are whole runs, as equal in points as these allow.
    """
    buckets = (max_points - 2) // 2
    middles = np.cumsum(counts) - counts / 2
    borders = np.searchsorted(middles, np.arange(1, buckets) * counts.sum() / buckets)
    runs = [run for run in np.split(np.arange(len(counts)), borders) if len(run)]
    low = [run[np.argmin(lows[1][run])] for run in runs]
    high = [run[np.argmax(highs[1][run])] for run in runs]
    steps = np.concatenate([ends[0], lows[0][low], highs[0][high]])
    values = np.concatenate([ends[1], lows[1][low], highs[1][high]])
    chosen, places = np.unique(steps, return_index=True)
    return chosen, values[places]


def to_json(steps: Steps, values: Values) -> dict[str, Any]:
    """Return the JSON form: a value that JSON cannot say is null and listed under ``non_finite``."""
    numbers = values.tolist()
    bad = [index for index, number in enumerate(numbers) if not math.isfinite(number)]
    for index in bad:
        numbers[index] = None
    return {
        "steps": steps.tolist(),
        "values": numbers,
        "non_finite": [{"step": int(steps[index]), "value": _spelled(float(values[index]))} for index in bad],
    }


def _spelled(value: float) -> str:
    return "nan" if math.isnan(value) else ("infinity" if value > 0 else "-infinity")
