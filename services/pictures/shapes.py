"""The outline of each kind of box, so that kinds are told apart without colour; their sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.pictures import captions
from services.pictures.document import Datum, Operation
from services.pictures.markup import element, number, text_width
from services.pictures.scene import Box

FONT_SIZE, LINE_HEIGHT = 13, 17
INK = "#1a1a1a"
_PAD_X, _PAD_Y = 9, 6
_SLANT = 10  # of a parallelogram and of a hexagon's points
_RADIUS = 15.0
_INSET = 3.5  # between the two outlines of an output

Outline = Literal[
    "input", "parameter", "buffer", "constant", "value", "output", "operation", "symbol", "group", "layer"
]


@dataclass(frozen=True, slots=True)
class Look:
    """How one kind of box is drawn."""

    name: str
    """What the legend calls it."""
    fill: str = "#fff"
    stroke: str = INK
    width: float = 1.3
    dash: str | None = None


LOOKS: dict[Outline, Look] = {
    "input": Look("input", "#e8f1fb", width=1.6),
    "parameter": Look("parameter (trained)", "#fdf1d8", width=2.2),
    "buffer": Look("buffer", "#f4f4f4", dash="6 3"),
    "constant": Look("constant", "#f4f4f4", dash="2 2.5"),
    "value": Look("value"),
    "output": Look("output", "#e6f4ea", width=1.6),
    "operation": Look("operation", "#ececec"),
    "symbol": Look("operation", "#ececec"),
    "layer": Look("layer", "#e9e4f5"),
    "group": Look("closed group", "#e9e4f5", width=1.6),
}


def outline(box: Box, outputs: frozenset[str]) -> Outline:
    """Return which outline a box has."""
    subject = box.subject
    if isinstance(subject, Datum):
        if subject.id in outputs or subject.kind == "output":
            return "output"
        return subject.kind if subject.kind in ("input", "parameter", "buffer", "constant") else "value"  # type: ignore[return-value]
    if isinstance(subject, Operation):
        return "symbol" if subject.name in captions.SYMBOLS else "operation"
    return "group"


def size(kind: Outline, lines: list[str]) -> tuple[float, float]:
    """Return width and height that hold the lines."""
    wide = max(text_width(line, FONT_SIZE, bold=index == 0) for index, line in enumerate(lines))
    high = LINE_HEIGHT * len(lines) + 2 * _PAD_Y
    if kind == "symbol":
        side = max(30.0, wide + 14)
        return side, 30.0
    extra = {"input": 2 * _SLANT, "parameter": 2 * _SLANT, "value": 6.0, "output": 6 + 2 * _INSET}
    room = extra.get(kind, 0.0)
    return max(wide + 2 * _PAD_X + room, high), high + (2 * _INSET if kind == "output" else 0)


def draw(kind: Outline, x: float, y: float, wide: float, high: float, *, alarm: bool = False) -> str:
    """Return the outline as SVG; ``x`` and ``y`` are its upper left corner. An alarm is a heavy line."""
    look = LOOKS[kind]
    stroke = 4.5 if alarm else look.width
    style = {"fill": look.fill, "stroke": look.stroke, "stroke-width": stroke, "stroke-dasharray": look.dash}
    if kind == "input":
        corners = [(x + _SLANT, y), (x + wide, y), (x + wide - _SLANT, y + high), (x, y + high)]
        return element("polygon", {"points": _points(corners), **style})
    if kind == "parameter":
        middle = y + high / 2
        corners = [(x, middle), (x + _SLANT, y), (x + wide - _SLANT, y), (x + wide, middle)]
        corners += [(x + wide - _SLANT, y + high), (x + _SLANT, y + high)]
        return element("polygon", {"points": _points(corners), **style})
    soft = min(high / 2, _RADIUS)
    radius = {"value": soft, "output": soft, "symbol": high / 2}.get(kind, 0 if kind == "operation" else 3)
    parts = [_rectangle((x, y, wide, high), radius, style)]
    if kind == "output":
        inner = (x + _INSET, y + _INSET, wide - 2 * _INSET, high - 2 * _INSET)
        parts.append(_rectangle(inner, radius - _INSET, {**style, "fill": "none"}))
    if kind == "group":  # a second sheet behind it: there is more
        parts.insert(0, _rectangle((x + 4, y + 4, wide, high), radius, style))
    return "".join(parts)


def _rectangle(at: tuple[float, float, float, float], radius: float, style: dict[str, object]) -> str:
    frame = dict(zip(("x", "y", "width", "height"), map(float, at), strict=True))
    return element("rect", {**frame, "rx": float(radius) if radius else None, **style})


def _points(corners: list[tuple[float, float]]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in corners)
