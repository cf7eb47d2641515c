"""Draws one placed scene as SVG: frames below, lines above them, boxes on top; everything with a tooltip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.pictures import captions, shapes
from services.pictures.document import Datum, Operation
from services.pictures.flow import Flow
from services.pictures.frames import Frame
from services.pictures.layout import LABEL_SIZE, Placed, Point, Rect, Sized, label_of
from services.pictures.markup import element, number, text_of
from services.pictures.scene import Box, Link, Scene

_LINE = "#4a4a4a"
_MUTED = "#333"
_FRAMES: dict[str, dict[str, object]] = {
    "module": {"stroke": "#8a84a0", "stroke-width": 1.3, "fill": "#7a6fb0", "fill-opacity": "0.06"},
    "call": {"stroke": "#8a84a0", "stroke-width": 1, "stroke-dasharray": "3 3", "fill": "none"},
    "loop": {"stroke": "#555", "stroke-width": 2, "stroke-dasharray": "9 4", "fill": "#fff"},
    "turn": {"stroke": "#777", "stroke-width": 1, "stroke-dasharray": "2 3", "fill": "none"},
    "branch": {"stroke": "#555", "stroke-width": 1.4, "stroke-dasharray": "9 3 2 3", "fill": "#fff"},
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A scene with everything that it takes to draw it."""

    scene: Scene
    sizes: Mapping[str, Sized]
    placed: Placed
    frames: Mapping[str, Frame]
    titles: Mapping[str, str]
    links: Mapping[str, str]
    """Where a click on a box or on a frame's title leads."""
    flow: Flow


def draw(drawing: Drawing) -> str:
    """Return the scene's content, the same text for the same scene."""
    placed, scene = drawing.placed, drawing.scene
    outside_in = sorted(scene.frames, key=lambda key: len(scene.frames[key]))
    parts = [_frame(drawing.frames[key], placed.frames[key]) for key in outside_in]
    for link, (points, tip), place in zip(scene.links, placed.curves, placed.labels, strict=True):
        parts.append(_line(link, points, tip, place, drawing.flow))
    parts += [_frame_title(drawing, key, placed.frames[key]) for key in outside_in]
    boxes = [_box(drawing, box, placed.boxes[box.id]) for box in scene.boxes.values()]
    letters = {"font-size": shapes.FONT_SIZE, "text-anchor": "middle", "fill": shapes.INK}
    parts.append(element("g", letters, "\n".join(boxes)))
    return "\n".join(parts)


def _frame(frame: Frame, place: Rect) -> str:
    at = {"x": place.x, "y": place.y, "width": place.wide, "height": place.high, "rx": 6}
    inner = element("title", {}, text_of(frame.tooltip)) + element("rect", {**at, **_FRAMES[frame.kind]})
    return element("g", {"data-frame": frame.kind, "data-path": frame.path or None}, inner)


def _frame_title(drawing: Drawing, key: str, place: Rect) -> str:
    """Above the lines, which may pass behind it, with a rim of paper around its letters."""
    at = {"x": place.x + 9, "y": place.y + 16, "font-size": LABEL_SIZE, "font-weight": "bold"}
    text = text_of(drawing.titles[key])
    rim = element("text", {**at, "fill": "#fff", "stroke": "#fff", "stroke-width": 4, "aria-hidden": "true"}, text)
    return _linked(rim + element("text", {**at, "fill": _MUTED}, text), drawing.links.get(key))


def _line(link: Link, points: list[Point], tip: Point, place: Point | None, flow: Flow) -> str:
    wide, dash = flow.width(link.gradient), flow.dash(link.gradient)
    start, *rest = points
    path = f"M{_pair(start)}C{' '.join(map(_pair, rest))}"
    style = {"fill": "none", "stroke": _LINE, "stroke-width": wide, "stroke-dasharray": dash}
    parts = [
        element("title", {}, text_of(captions.link_tooltip(link))),
        element("path", {"d": path, **style}),
        element("polygon", {"points": " ".join(map(_pair, _arrow(points[-1], tip, wide))), "fill": _LINE}),
    ]
    if place is not None:
        at = {"x": place[0], "y": place[1] + 4, "text-anchor": "middle", "font-size": LABEL_SIZE, "fill": _MUTED}
        parts.append(element("text", at, text_of(label_of(link))))
    return element("g", {"data-from": link.source, "data-to": link.target}, *parts)


def _arrow(end: Point, tip: Point, wide: float) -> list[Point]:
    """A triangle from the line's end to the tip, wider than the line."""
    across, down = tip[0] - end[0], tip[1] - end[1]
    length = math.hypot(across, down) or 1.0
    half = 2.6 + wide * 0.75
    aside = (-down / length * half, across / length * half)
    return [(end[0] + aside[0], end[1] + aside[1]), tip, (end[0] - aside[0], end[1] - aside[1])]


def _box(drawing: Drawing, box: Box, place: Rect) -> str:
    one = drawing.sizes[box.id]
    parts = [
        element("title", {}, text_of(captions.tooltip(box))),
        shapes.draw(one.outline, place.x, place.y, place.wide, place.high, alarm=box.id == drawing.scene.alarm),
        *_text(box, one, place),
    ]
    subject = box.subject
    pointer = subject.place if isinstance(subject, Operation) else None
    marks = {"data-id": box.id, "data-kind": one.outline, "data-pointer": pointer or None}
    return _linked(element("g", marks, *parts), drawing.links.get(box.id))


def _text(box: Box, one: Sized, place: Rect) -> list[str]:
    middle = place.x + place.wide / 2
    first = place.y + place.high / 2 - shapes.LINE_HEIGHT * (len(one.lines) - 1) / 2 + shapes.FONT_SIZE * 0.35
    named = not isinstance(box.subject, Datum) or bool(box.subject.name)
    parts = []
    for index, line in enumerate(one.lines):
        weight = "bold" if index == 0 and named else None
        at = {"x": middle, "y": first + index * shapes.LINE_HEIGHT, "font-weight": weight}
        name, beside, rest = line.partition(captions.BESIDE)
        light = [element("tspan", {"font-weight": "normal"}, text_of(beside + rest))] if beside else []
        parts.append(element("text", at, text_of(name), *light))
    return parts


def _linked(content: str, target: str | None) -> str:
    return content if target is None else element("a", {"href": f"#{target}"}, content)


def _pair(point: Point) -> str:
    return f"{number(point[0])},{number(point[1])}"
