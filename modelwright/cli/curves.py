"""Curves as text: a series of numbers in a few rows of Braille dots, two a column and four a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.text import Text

ROWS = 6
_BLANK = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bits of a Braille pattern: left and right column, from the top (Unicode chapter 21.1)."""
_LABEL = 10
_LEAST_WIDTH = 20


def of_series(series: Mapping[str, Mapping[str, Any]], *, width: int) -> Iterator[Group]:
    """Yield a curve for each series that has more than one number."""
    for name, one in series.items():
        values = [math.nan if value is None else float(value) for value in one["values"]]
        if len(values) > 1:
            yield curve(name, one["steps"], values, width=width)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The dots that a curve is drawn on, and the numbers that its lowest and highest row stand for."""

    columns: int
    rows: int
    low: float
    high: float

    def height(self, value: float) -> int:
        """Return the dot row of a value, counted from below."""
        span = self.high - self.low
        return round((value - self.low) / span * (4 * self.rows - 1)) if span > 0 else 0


def curve(name: str, steps: Sequence[int], values: Sequence[float], *, width: int, rows: int = ROWS) -> Group:
    """Return a curve with its name, its extremes at the left, and its first and last step below.

    Args:
        steps: where the values lie, ascending.
        values: the numbers; what is not finite leaves a gap.
        width: columns in all, labels included.
        rows: rows of the curve alone.
    """
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    frame = _Frame(max(_LEAST_WIDTH, width - _LABEL - 1), rows, min(finite), max(finite))
    labels = [_number(frame.high), *[""] * (rows - 2), _number(frame.low)]
    lines = [
        Text.assemble((label.rjust(_LABEL), "dim"), " ", (line, "cyan"))
        for label, line in zip(labels, _drawn(steps, values, frame), strict=True)
    ]
    first, last = f"{steps[0]}", f"step {steps[-1]}"
    below = Text(" " * (_LABEL + 1) + first + last.rjust(frame.columns - len(first)), "dim")
    return Group(Text.assemble((name, "bold"), f"  {_number(values[-1])}"), *lines, below)


def _drawn(steps: Sequence[int], values: Sequence[float], frame: _Frame) -> list[str]:
    """Return the rows: each dot column shows the lowest to the highest of its values."""
    cells = [[_BLANK] * frame.columns for _ in range(frame.rows)]
    for x, (bottom, top) in _columns(steps, values, 2 * frame.columns).items():
        for y in range(frame.height(bottom), frame.height(top) + 1):
            row, dot = divmod(4 * frame.rows - 1 - y, 4)
            cells[row][x // 2] |= _DOTS[x % 2][dot]
    return ["".join(map(chr, row)) for row in cells]


def _columns(steps: Sequence[int], values: Sequence[float], count: int) -> dict[int, tuple[float, float]]:
    """Return the least and the greatest value of each dot column; between two points lies a straight line."""
    found: dict[int, tuple[float, float]] = {}
    span = max(1, steps[-1] - steps[0])
    before: tuple[int, float] | None = None
    for step, value in zip(steps, values, strict=True):
        here = ((step - steps[0]) * (count - 1) // span, value)
        for x, y in _line(before or here, here) if math.isfinite(value) else ():
            least, most = found.get(x, (y, y))
            found[x] = (min(least, y), max(most, y))
        before = here if math.isfinite(value) else None
    return found


def _line(begin: tuple[int, float], end: tuple[int, float]) -> Iterator[tuple[int, float]]:
    """Yield the points from one to the other, one for each column."""
    width = end[0] - begin[0]
    for x in range(width):
        yield begin[0] + x, begin[1] + (end[1] - begin[1]) * x / width
    yield end


def _number(value: float) -> str:
    return f"{value:.4g}"
