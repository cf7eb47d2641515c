"""Line charts as SVG: a few series, told apart by dashes and markers and named at their ends, not by colour alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.pictures.markup import FONT, element, number, text_of, text_width

WIDTH, HEIGHT = 720, 420
_LEFT, _TOP, _BOTTOM = 76, 56, 60
_SIZE = 14
_GAP = 10  # between what must not touch: a line's end and its name, two names
_TICKS = 6
_DASHES = (None, "7 4", "2 3", "10 3 2 3")
_COLOURS = ("#1a1a1a", "#b3261e", "#1f5fa8", "#5f6b1f")


@dataclass(frozen=True)
class Series:
    """One line: a name, and points with rising x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``x`` with a text: what the chart is there to show."""

    x: float
    text: str


@dataclass(frozen=True)
class _Axis:
    """A linear scale from values to pixels, with round ticks."""

    ticks: tuple[float, ...]
    start: float
    end: float

    def at(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def lines(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, marks: Sequence[Mark] = (), note: str = ""
) -> str:
    """Return the chart as a whole SVG document, 720 × 420, the same text for the same numbers.

    Points that are not finite are left out. ``note`` stands below the title: how the numbers were measured.

    Raises:
        ValueError: no series has a finite point.
    """
    drawn = [(one.name, [p for p in one.points if all(map(math.isfinite, p))]) for one in series]
    points = [point for _, some in drawn for point in some]
    if not points:
        raise ValueError("a chart needs at least one finite point")
    marks = [mark for mark in marks if math.isfinite(mark.x)]
    right = WIDTH - 2 * _GAP - max(text_width(name, _SIZE, bold=True) for name, _ in drawn)
    across = _Axis(_ticks([p[0] for p in points] + [mark.x for mark in marks]), _LEFT, right)
    up = _Axis(_ticks([p[1] for p in points]), HEIGHT - _BOTTOM, _TOP)
    body = [
        element("title", {}, text_of(title)),
        element("rect", {"width": WIDTH, "height": HEIGHT, "fill": "#fff"}),
        _text(_LEFT, 22, title, weight="bold", size=_SIZE + 2),
        _text(_LEFT, 42, note, size=_SIZE - 2, fill="#444") if note else "",
        *_axes(across, up, x_label, y_label),
        *_series(drawn, across, up),
        *(_mark(mark, across, up) for mark in marks),
    ]
    head = {"xmlns": "http://www.w3.org/2000/svg", "width": WIDTH, "height": HEIGHT}
    return element("svg", {**head, "viewBox": f"0 0 {WIDTH} {HEIGHT}", "font-family": FONT, "role": "img"}, *body)


def _ticks(values: list[float]) -> tuple[float, ...]:
    """Round numbers from below the least (or zero) to above the greatest value."""
    low, high = min(0.0, *values), max(0.0, *values)
    rough = ((high - low) or 1.0) / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), max(math.ceil(high / step - 1e-9), math.floor(low / step + 1e-9) + 1)
    return tuple(step * index for index in range(first, last + 1))


def _axes(across: _Axis, up: _Axis, x_label: str, y_label: str) -> list[str]:
    parts = []
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(_line(across.start, y, across.end, y, stroke="#ccc"))
        parts.append(_text(across.start - _GAP, y + 5, _tick(tick), anchor="end"))
    for tick in across.ticks:
        parts.append(_line(across.at(tick), up.start, across.at(tick), up.start + 5))
        parts.append(_text(across.at(tick), up.start + 21, _tick(tick), anchor="middle"))
    parts.append(_line(across.start, up.start, across.end, up.start))
    parts.append(_text((across.start + across.end) / 2, up.start + 44, x_label, anchor="middle"))
    turned = f"rotate(-90 18 {number((up.start + up.end) / 2)})"
    parts.append(_text(18, (up.start + up.end) / 2, y_label, anchor="middle", transform=turned))
    return parts


def _mark(mark: Mark, across: _Axis, up: _Axis) -> str:
    x = across.at(mark.x)
    past = x + _GAP + text_width(mark.text, _SIZE) > across.end
    line = _line(x, up.start, x, up.end, stroke="#444", stroke_dasharray="1 3", stroke_width=1.5)
    place, anchor = (x - 6, "end") if past else (x + 6, None)
    halo = _text(place, up.end + 14, mark.text, anchor=anchor, fill="#fff", stroke="#fff", stroke_width=5)
    return line + halo + _text(place, up.end + 14, mark.text, anchor=anchor)


def _series(drawn: list[tuple[str, list[tuple[float, float]]]], across: _Axis, up: _Axis) -> list[str]:
    ends = [up.at(points[-1][1]) if points else up.end for _, points in drawn]
    parts = []
    for index, ((name, points), y) in enumerate(zip(drawn, _apart(ends), strict=True)):
        colour = _COLOURS[index % len(_COLOURS)]
        places = [(across.at(x), up.at(y)) for x, y in points]
        parts.append(_polyline(places, colour, _DASHES[index % len(_DASHES)]))
        parts += [_marker(index, x, y, colour) for x, y in _some(places)]
        parts.append(_text(across.end + _GAP, y + 5, name, fill=colour, weight="bold"))
    return parts


def _apart(heights: list[float]) -> list[float]:
    """Move names of lines that end close to each other apart, keeping their order."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = list(heights)
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + _SIZE + 4)
    return moved


def _some(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most nine of the points, the last among them: markers on all would hide the line."""
    every = max(1, math.ceil(len(places) / 8))
    return [*places[:-1:every], *places[-1:]]


def _polyline(places: list[tuple[float, float]], colour: str, dash: str | None) -> str:
    points = " ".join(f"{number(x)},{number(y)}" for x, y in places)
    style = {"fill": "none", "stroke": colour, "stroke-width": 2.5, "stroke-dasharray": dash}
    return element("polyline", {"points": points, **style, "stroke-linejoin": "round"})


def _marker(index: int, x: float, y: float, colour: str) -> str:
    style = {"fill": colour if index % 2 == 0 else "#fff", "stroke": colour, "stroke-width": 1.5}
    if index % 4 < 2:
        return element("circle", {"cx": float(x), "cy": float(y), "r": 4, **style})
    return element("rect", {"x": float(x) - 4, "y": float(y) - 4, "width": 8, "height": 8, **style})


def _line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = "#1a1a1a", **style: object) -> str:
    named = {name.replace("_", "-"): value for name, value in style.items()}
    ends = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
    return element("line", {**ends, "stroke": stroke, **named})


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str | None = None,
    size: int = _SIZE,
    weight: str | None = None,
    fill: str = "#1a1a1a",
    **style: object,
) -> str:
    named = {name.replace("_", "-"): value for name, value in style.items()}
    font = {"font-size": size, "font-weight": weight, "fill": fill, "text-anchor": anchor}
    return element("text", {"x": float(x), "y": float(y), **font, **named}, text_of(text))


def _tick(value: float) -> str:
    return f"{value:.6g}"
