"""Statistics of each column, and its first rows as JSON."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import MAX_PREVIEW_ROWS, MAX_PREVIEW_VALUES
from services.datasets.parsing.table import Table, Values, blocks

_BINS = 20
_UNIQUE_ROWS = 5_000_000  # sorting more than this for a count is not worth the wait
_SHOWN_CLASSES = 100
_SHOWN_VALUES = 64
_SHOWN_CHARACTERS = 200


def profile(table: Table) -> dict[str, Any]:
    """Return ``{"statistics": {column: …}, "preview": {column: [value of row 0, …]}}``; NaN and infinities are None."""
    a_row = sum(_values_shown(values) for values in table.values())
    rows = max(1, min(MAX_PREVIEW_ROWS, MAX_PREVIEW_VALUES // a_row))
    return {
        "statistics": {name: statistics(values) for name, values in table.items()},
        "preview": {name: preview(values, rows) for name, values in table.items()},
    }


def statistics(values: Values) -> dict[str, Any]:
    """Return what is to know of a column, by its kind."""
    if values.offsets is not None:
        lengths = np.diff(values.offsets)
        return {
            "missing": 0,
            "bytes": {"min": int(lengths.min()), "max": int(lengths.max()), "sum": int(lengths.sum())},
        }
    if values.kind in ("category", "token"):
        return _classes(values)
    return _numbers(values)


def preview(values: Values, rows: int) -> list[Any]:
    """Return the first rows; of a row with many values the first ones, flat."""
    if values.offsets is not None:
        ends = values.offsets[: rows + 1]
        texts = (values.array[a:b][: _SHOWN_CHARACTERS * 4].tobytes() for a, b in itertools.pairwise(ends))
        return [text.decode("utf-8", errors="ignore")[:_SHOWN_CHARACTERS] for text in texts]
    head = values.array[:rows]
    if values.kind in ("category", "token"):
        return [values.class_names[code] if code >= 0 else None for code in head.tolist()]
    if head.ndim > 1:
        head = head.reshape(len(head), -1)
        return [[_plain(one) for one in row] for row in head[:, :_SHOWN_VALUES].tolist()]
    return [_plain(one) for one in head.tolist()]


def _values_shown(values: Values) -> int:
    """Return how many values of a row are shown."""
    return 1 if values.offsets is not None else min(_SHOWN_VALUES, math.prod(values.array.shape[1:]))


def _classes(values: Values) -> dict[str, Any]:
    counts = np.zeros(len(values.class_names) + 1, dtype=np.int64)
    for block in blocks(values.array):
        counts += np.bincount(block.astype(np.int64) + 1, minlength=len(counts))
    order = np.argsort(-counts[1:], kind="stable")[:_SHOWN_CLASSES]
    return {
        "missing": int(counts[0]),
        "unique": int((counts[1:] > 0).sum()),
        "classes": {values.class_names[code]: int(counts[code + 1]) for code in order.tolist()},
    }


def _numbers(values: Values) -> dict[str, Any]:
    array = values.array
    count, missing, infinite, total, low, high = 0, 0, 0, 0.0, math.inf, -math.inf
    for block in blocks(array):
        finite, nan, inf = _finite(block)
        missing, infinite, count = missing + nan, infinite + inf, count + finite.size
        if finite.size:
            with np.errstate(over="ignore"):
                total += float(finite.sum())
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    found: dict[str, Any] = {"missing": missing, "infinite": infinite, "min": _plain(low), "max": _plain(high)}
    if not count or not math.isfinite(total) or not math.isfinite(high - low):  # nothing there, or beyond float64
        return {**found, "mean": None, "std": None}
    mean = total / count
    found |= {"mean": mean, "std": _deviation(array, mean, count, largest=max(high - mean, mean - low))}
    if array.ndim == 1 and len(array) <= _UNIQUE_ROWS:
        found |= _distinct(array)
    return found | {"histogram": _histogram(array, low, high)}


def _deviation(array: NDArray[Any], mean: float, count: int, *, largest: float) -> float:
    """Square what is divided by the ``largest`` distance from the mean: squares of 1e300 are beyond float64."""
    unit = largest or 1.0
    squares = sum(float(np.square((_finite(block)[0] - mean) / unit).sum()) for block in blocks(array))
    return math.sqrt(squares / count) * unit


def _distinct(array: NDArray[Any]) -> dict[str, Any]:
    found, counts = np.unique(array, return_counts=True)
    whole = array.dtype.kind in "iub" and len(found) <= _SHOWN_CLASSES
    classes = {str(value): int(count) for value, count in zip(found.tolist(), counts.tolist(), strict=True)}
    return {"unique": len(found), **({"classes": classes} if whole else {})}


def _histogram(array: NDArray[Any], low: float, high: float) -> dict[str, Any]:
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts = np.zeros(_BINS, dtype=np.int64)
    for block in blocks(array):
        counts += np.histogram(_finite(block)[0], edges)[0]
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _finite(block: NDArray[Any]) -> tuple[NDArray[np.float64], int, int]:
    """Return the finite values as float64, and how many are NaN and infinite."""
    flat = np.asarray(block, dtype=np.float64).ravel()
    if block.dtype.kind != "f":
        return flat, 0, 0
    nan, finite = np.isnan(flat), np.isfinite(flat)
    missing = int(nan.sum())
    return flat[finite], missing, flat.size - int(finite.sum()) - missing


def _plain(value: float | bool) -> float | int | bool | None:
    """Return a number as JSON can say it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
