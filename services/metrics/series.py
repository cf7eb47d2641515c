"""Series of points as arrays: packing into segments, and down-sampling that keeps every extreme in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Steps = NDArray[np.int64]
Values = NDArray[np.float64]


def pack(steps: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """Return the columns of a segment: little-endian int64 steps and float64 values."""
    packed = np.asarray(steps, dtype="<i8")
    return {
        "first_step": int(packed[0]),
        "last_step": int(packed[-1]),
        "count": len(packed),
        "steps": packed.tobytes(),
        "values": np.asarray(values, dtype="<f8").tobytes(),
    }


def unpack(steps: bytes, values: bytes) -> tuple[Steps, Values]:
    """Return the arrays of one or several concatenated segments."""
    return np.frombuffer(steps, dtype="<i8"), np.frombuffer(values, dtype="<f8")


def downsample(steps: Steps, values: Values, max_points: int) -> tuple[Steps, Values]:
    """Return at most ``max_points`` points: the minimum and maximum of equal buckets, and both ends.

    A bucket that holds a NaN shows it, so that a single bad step is never averaged away.
    """
    if len(steps) <= max_points:
        return steps, values
    if max_points < 4:
        chosen = np.linspace(0, len(steps) - 1, max_points).astype(np.intp)
        return steps[chosen], values[chosen]
    inner = np.array_split(np.arange(1, len(steps) - 1), (max_points - 2) // 2)
    low = [bucket[np.argmin(values[bucket])] for bucket in inner]
    high = [bucket[np.argmax(values[bucket])] for bucket in inner]
    chosen = np.unique(np.concatenate(([0], low, high, [len(steps) - 1])))
    return steps[chosen], values[chosen]


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
