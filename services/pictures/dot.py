"""A scene as DOT, for whoever lays it out or styles it with Graphviz."""

from __future__ import annotations

from services.pictures import captions
from services.pictures.document import Document
from services.pictures.flow import flow
from services.pictures.frames import Frame, Nesting
from services.pictures.layout import Sized, label_of, sized
from services.pictures.markup import clean, number
from services.pictures.scene import Box, Scene
from services.pictures.shapes import LOOKS, Outline

_SHAPES: dict[Outline, str] = {
    "input": "shape=parallelogram",
    "parameter": "shape=hexagon, penwidth=2.2",
    "buffer": 'shape=box, style="filled,dashed"',
    "constant": 'shape=box, style="filled,dotted"',
    "value": 'shape=box, style="filled,rounded"',
    "output": 'shape=box, style="filled,rounded", peripheries=2',
    "operation": "shape=box",
    "symbol": "shape=circle, margin=0.02",
    "layer": "shape=box",
    "group": "shape=box3d",
}
_FRAMES = {
    "module": "color=gray50, style=solid, penwidth=1",
    "call": "color=gray50, style=dashed, penwidth=1",
    "loop": "color=gray30, style=dashed, penwidth=2",
    "turn": "color=gray50, style=dotted, penwidth=1",
    "branch": "color=gray30, style=dashed, penwidth=1",
}


def write(document: Document, nesting: Nesting, scene: Scene, layers: frozenset[str]) -> str:
    """Return the DOT text; names and values are quoted, whatever they hold."""
    sizes = sized(scene, document.outputs, layers, {})
    scale = flow(document)
    out = [
        "digraph graph_1 {",
        '  graph [newrank=true, fontname="Helvetica", fontsize=12];',
        '  node [style=filled, fontname="Helvetica", fontsize=12]; edge [color=gray30, fontname="Helvetica"];',
    ]
    numbers = {key: f"n{index}" for index, key in enumerate([*scene.boxes, *scene.frames])}
    for what, key, depth in scene.walk():
        line = "}"
        if what == "box":
            line = _box(scene.boxes[key], sizes[key], numbers[key], alarm=key == scene.alarm)
        elif what == "open":
            line = _open(nesting.frames[key], numbers[key])
        out.append("  " * depth + line)
    for link in scene.links:
        marks = [f"penwidth={number(scale.width(link.gradient))}", f"tooltip={_quoted(captions.link_tooltip(link))}"]
        marks += ["style=dashed"] if scale.dash(link.gradient) else []
        marks += [f"label={_quoted(label_of(link))}"] if link.labels else []
        out.append(f"  {numbers[link.source]} -> {numbers[link.target]} [{', '.join(marks)}];")
    return "\n".join([*out, "}", ""])


def _open(frame: Frame, number: str) -> str:
    marks = (
        f"label={_quoted(captions.title(frame))}, tooltip={_quoted(frame.tooltip)}, labeljust=l, {_FRAMES[frame.kind]}"
    )
    return f"subgraph cluster_{number} {{ graph [{marks}];"


def _box(box: Box, one: Sized, number: str, *, alarm: bool) -> str:
    marks = [f"label={_quoted(chr(10).join(one.lines))}", f"tooltip={_quoted(captions.tooltip(box))}"]
    marks += [_SHAPES[one.outline], f'fillcolor="{_fill(one)}"']
    marks += ["penwidth=4.5"] if alarm else []
    return f"{number} [{', '.join(marks)}];"


def _fill(one: Sized) -> str:
    return "#ffffff" if one.outline == "value" else LOOKS[one.outline].fill


def _quoted(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "")
    return f'"{escaped}"'
