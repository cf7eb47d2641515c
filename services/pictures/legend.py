"""The legend below a picture: the kinds that occur in it, what the lines mean, what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.pictures import shapes
from services.pictures.document import Document
from services.pictures.markup import element, text_of, text_width
from services.pictures.shapes import LOOKS, Outline

_SIZE = 11
_ROW = 22.0
_SAMPLE = 30.0
_EDGE = 14.0
_LEAST_WIDTH = 380.0


def draw(kinds: Iterable[Outline], notes: Sequence[str], wide: float) -> tuple[float, float, str]:
    """Return width, height and content; ``wide`` is the picture's width."""
    present = set(kinds)
    shown = [kind for kind in LOOKS if kind in present and not (kind == "symbol" and "operation" in present)]
    room = max(wide, _LEAST_WIDTH, *(text_width(note, _SIZE) + 2 * _EDGE for note in notes), 0)
    parts = [_rule(room)]
    x, y = _EDGE, 10.0
    for kind in shown:
        text = LOOKS[kind].name
        needed = _SAMPLE + 6 + text_width(text, _SIZE) + 16
        if x + needed > room and x > _EDGE:
            x, y = _EDGE, y + _ROW
        sample = 16.0 if kind == "symbol" else _SAMPLE
        parts.append(shapes.draw(kind, x, y, sample, 15.0))
        parts.append(_text(x + sample + 6 + (4 if kind == "group" else 0), y + 12, text))
        x += needed
    y += _ROW
    for note in notes:
        parts.append(_text(_EDGE, y + 10, note))
        y += _ROW - 4
    return room, y + 6, element("g", {"class": "legend"}, *parts)


def truncated(document: Document) -> str:
    """Return what the picture leaves out because the document does."""
    if not document.kept_and_left_out:
        return ""
    kept, left_out = document.kept_and_left_out
    return f"cut: {kept:,} operations shown, {left_out:,} more ran"


def _rule(wide: float) -> str:
    return element("line", {"x1": _EDGE, "y1": 0.5, "x2": wide - _EDGE, "y2": 0.5, "stroke": "#bbb", "stroke-width": 1})


def _text(x: float, y: float, text: str) -> str:
    return element("text", {"x": x, "y": y, "font-size": _SIZE, "fill": "#333"}, text_of(text))
