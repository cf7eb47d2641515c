"""Reads an SVG picture back: boxes, lines and views, so that tests can speak of what is seen."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


@dataclass
class Rect:
    x: float
    y: float
    wide: float
    high: float

    def overlaps(self, other: Rect) -> bool:
        across = min(self.x + self.wide, other.x + other.wide) - max(self.x, other.x)
        down = min(self.y + self.high, other.y + other.high) - max(self.y, other.y)
        return across > 0.5 and down > 0.5

    def holds(self, other: Rect) -> bool:
        slack = 0.6
        return (
            self.x <= other.x + slack
            and self.y <= other.y + slack
            and other.x + other.wide <= self.x + self.wide + slack
            and other.y + other.high <= self.y + self.high + slack
        )


@dataclass
class Picture:
    """One view: what its boxes are called, where they lie, and what is linked."""

    root: ElementTree.Element
    boxes: dict[str, Rect] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[tuple[str, float, float]]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    frames: list[tuple[str, str, Rect]] = field(default_factory=list)
    links: list[tuple[str, str, float, str | None]] = field(default_factory=list)
    """From, to, width, dashes."""


def views(svg: str) -> list[Picture]:
    """Return all views, the picture at rest first."""
    root = ElementTree.fromstring(svg)
    inner = [one for one in root if one.tag == f"{SVG}svg"]
    inner.sort(key=lambda one: one.get("class") != "home")
    return [_read(one) for one in inner or [root]]


def view(svg: str) -> Picture:
    return views(svg)[0]


def _read(root: ElementTree.Element) -> Picture:
    picture = Picture(root)
    for group in root.iter(f"{SVG}g"):
        if key := group.get("data-id"):
            picture.boxes[key] = _outline(group)
            picture.kinds[key] = group.get("data-kind", "")
            picture.titles[key] = group.find(f"{SVG}title").text
            picture.texts[key] = [(t.text, float(t.get("x")), float(t.get("y"))) for t in group.iter(f"{SVG}text")]
        elif group.get("data-from"):
            path = group.find(f"{SVG}path")
            width = float(path.get("stroke-width"))
            picture.links.append((group.get("data-from"), group.get("data-to"), width, path.get("stroke-dasharray")))
        elif kind := group.get("data-frame"):
            picture.frames.append((kind, group.find(f"{SVG}title").text, _rectangle(group.find(f"{SVG}rect"))))
    return picture


def _outline(group: ElementTree.Element) -> Rect:
    polygon = group.find(f"{SVG}polygon")
    if polygon is None:
        return _rectangle(group.findall(f"{SVG}rect")[-1 if group.get("data-kind") == "group" else 0])
    numbers = [float(one) for one in re.split(r"[ ,]", polygon.get("points"))]
    across, down = numbers[::2], numbers[1::2]
    return Rect(min(across), min(down), max(across) - min(across), max(down) - min(down))


def _rectangle(one: ElementTree.Element) -> Rect:
    return Rect(*(float(one.get(name)) for name in ("x", "y", "width", "height")))
