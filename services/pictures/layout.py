"""Where everything of a scene goes: sizes and links as DOT for the engine, its answer as coordinates for drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.pictures import captions, shapes
from services.pictures.markup import text_width
from services.pictures.scene import Link, Scene
from services.pictures.shapes import Outline

MARGIN = 14.0
_RANKS, _BRIEF_RANKS = 0.32, 0.22  # inches between ranks; an overview is a long chain that should fit on a wall
_SIMPLEX_STEPS = 250.0
LABEL_SIZE = 12
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sized:
    """A box with its outline and what is written in it."""

    outline: Outline
    lines: list[str]
    wide: float
    high: float


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle by its upper left corner; y grows downwards."""

    x: float
    y: float
    wide: float
    high: float


@dataclass(slots=True)
class Placed:
    """Where one scene's boxes, frames and lines are; pixels, the origin above and left of all."""

    wide: float
    high: float
    boxes: dict[str, Rect]
    frames: dict[str, Rect]
    curves: list[tuple[list[Point], Point]]
    """For each link its Bézier points and the tip of its arrow."""
    labels: list[Point | None]


def sized(scene: Scene, outputs: frozenset[str], layers: frozenset[str], links: Mapping[str, str]) -> dict[str, Sized]:
    """Return each box with its text and measures.

    ``layers`` are frames with nothing to see inside; ``links`` has the boxes that open when they are clicked.
    """
    found = {}
    for box in scene.boxes.values():
        kind: Outline = "layer" if box.id in layers else shapes.outline(box, outputs)
        lines = captions.lines(box, brief=scene.brief)
        if box.id in links:
            lines[0] = f"▸ {lines[0]}"
        if box.id == scene.alarm:
            lines.append(scene.alarm_text)
        if kind == "symbol" and len(lines) > 1:
            kind = "operation"
        found[box.id] = Sized(kind, lines, *shapes.size(kind, lines))
    return found


def to_dot(scene: Scene, sizes: Mapping[str, Sized], titles: Mapping[str, str]) -> str:
    """Return the skeleton for the engine: numbers for names, no text of anybody, ASCII only."""
    numbers = {key: index for index, key in enumerate([*scene.boxes, *scene.frames])}
    # Where boxes are many, long lines make the simplex of ranks and columns slow for a beauty that nobody sees.
    limit = f", nslimit={_SIMPLEX_STEPS / len(scene.boxes):.3f}" if len(scene.boxes) > _SIMPLEX_STEPS / 2 else ""
    out = [
        f"digraph {{ graph [ranksep={_BRIEF_RANKS if scene.brief else _RANKS}, nodesep=0.22, splines=true, "
        f"remincross=true, newrank=true{limit}];",
        'node [shape=box, fixedsize=true, label=""]; edge [arrowsize=0.7];',
    ]
    for what, key, _ in scene.walk():
        if what == "box":
            one = sizes[key]
            out.append(f"{numbers[key]} [width={one.wide / 72:.4f}, height={one.high / 72:.4f}];")
        elif what == "open":
            room = _room(text_width(titles[key], LABEL_SIZE, bold=True) + 10, LABEL_SIZE + 8)
            out.append(f"subgraph cluster_{numbers[key]} {{ graph [label={room}, labeljust=l, margin=9];")
        else:
            out.append("}")
    for index, link in enumerate(scene.links):
        label = f", label={_room(text_width(label_of(link), LABEL_SIZE) + 6, LABEL_SIZE + 5)}" if link.labels else ""
        out.append(f'{numbers[link.source]} -> {numbers[link.target]} [id="{index}"{label}];')
    return "\n".join([*out, "}"])


def placed(scene: Scene, sizes: Mapping[str, Sized], layout: Mapping[str, Any]) -> Placed:
    """Return the engine's answer in pixels."""
    left, low, right, top = map(float, layout["bb"].split(","))
    names = [*scene.boxes, *scene.frames]

    def at(x: str, y: str) -> Point:
        return float(x) - left + MARGIN, top - float(y) + MARGIN

    boxes: dict[str, Rect] = {}
    frames: dict[str, Rect] = {}
    for item in layout.get("objects", ()):
        key = names[int(item["name"].removeprefix("cluster_"))]
        if "pos" in item:
            x, y = at(*item["pos"].split(","))
            boxes[key] = Rect(x - sizes[key].wide / 2, y - sizes[key].high / 2, sizes[key].wide, sizes[key].high)
        else:
            x1, y1, x2, y2 = item["bb"].split(",")
            (x, y), (x_end, y_end) = at(x1, y2), at(x2, y1)
            frames[key] = Rect(x, y, x_end - x, y_end - y)
    edges = sorted(layout.get("edges", ()), key=lambda edge: int(edge["id"]))
    curves = [_curve(edge["pos"], at) for edge in edges]
    labels = [at(*edge["lp"].split(",")) if "lp" in edge else None for edge in edges]
    return Placed(right - left + 2 * MARGIN, top - low + 2 * MARGIN, boxes, frames, curves, labels)


def label_of(link: Link) -> str:
    """Return what is written at a link: which calls of a module it belongs to."""
    if len(link.labels) > 3:
        return f"{link.labels[0]} … {link.labels[-1].removeprefix('call ')}"
    return ", ".join([link.labels[0], *(label.removeprefix("call ") for label in link.labels[1:])])


def _room(wide: float, high: float) -> str:
    """An empty label of an exact size: the engine needs no fonts."""
    size = f'FIXEDSIZE="TRUE" WIDTH="{round(wide)}" HEIGHT="{round(high)}"'
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0" {size}><TR><TD></TD></TR></TABLE>>'


def _curve(position: str, at: Callable[[str, str], Point]) -> tuple[list[Point], Point]:
    """Read one spline: ``e,x,y`` is the tip, the rest are Bézier points."""
    parts = position.partition(";")[0].split()
    tips = [part[2:].split(",") for part in parts if part.startswith("e,")]
    points = [at(*part.split(",")) for part in parts if not part.startswith(("e,", "s,"))]
    return points, at(*tips[0]) if tips else points[-1]
