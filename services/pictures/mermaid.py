"""A scene as a Mermaid flowchart, for pages and pull requests that draw it themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping

from services.pictures import captions
from services.pictures.document import Document
from services.pictures.flow import PLAIN, flow
from services.pictures.frames import Nesting
from services.pictures.layout import Sized, label_of, sized
from services.pictures.markup import clean, number
from services.pictures.scene import Scene
from services.pictures.shapes import Outline

_SHAPES: dict[Outline, tuple[str, str]] = {
    "input": ("[/", "/]"),
    "parameter": ("{{", "}}"),
    "buffer": ("[(", ")]"),
    "constant": (">", "]"),
    "value": ("([", "])"),
    "output": ("(((", ")))"),
    "operation": ("[", "]"),
    "symbol": ("((", "))"),
    "layer": ("[", "]"),
    "group": ("[[", "]]"),
}
_STYLES = {
    "parameter": "stroke-width:2.5px",
    "buffer": "stroke-dasharray:6 3",
    "constant": "stroke-dasharray:2 3",
    "alarm": "stroke-width:5px",
    "loop": "stroke-dasharray:9 4,stroke-width:2px,fill:none",
    "turn": "stroke-dasharray:2 3,fill:none",
    "call": "stroke-dasharray:3 3,fill:none",
    "branch": "stroke-dasharray:9 3 2 3,fill:none",
}
# Mermaid reads markup, Markdown and its own words inside quotes; only these characters stand for themselves.
_UNSAFE = re.compile(r"[^A-Za-z0-9 .,:=+()\[\]/·×÷−…±‖∂→↻∞≥≤≠⚠-]")


def write(document: Document, nesting: Nesting, scene: Scene, layers: frozenset[str]) -> str:
    """Return the Mermaid text; every character of a name that could mean something is a numbered entity."""
    sizes = sized(scene, document.outputs, layers, {})
    numbers = {key: f"n{index}" for index, key in enumerate([*scene.boxes, *scene.frames])}
    out = ["flowchart TD"]
    for what, key, depth in scene.walk():
        line = "end"
        if what == "box":
            left, right = _SHAPES[sizes[key].outline]
            line = f"{numbers[key]}{left}{_quoted(sizes[key].lines)}{right}"
        elif what == "open":
            line = f"subgraph {numbers[key]}[{_quoted([captions.title(nesting.frames[key])])}]"
        out.append("  " * depth + line)
    scale = flow(document)
    for index, link in enumerate(scene.links):
        arrow = "-.->" if scale.dash(link.gradient) else "-->"
        label = f"|{_quoted([label_of(link)])}|" if link.labels else ""
        out.append(f"  {numbers[link.source]} {arrow}{label} {numbers[link.target]}")
        if scale.width(link.gradient) != PLAIN:
            out.append(f"  linkStyle {index} stroke-width:{number(scale.width(link.gradient))}px")
    out += _classes(nesting, scene, sizes, numbers)
    return "\n".join([*out, ""])


def _classes(nesting: Nesting, scene: Scene, sizes: Mapping[str, Sized], numbers: Mapping[str, str]) -> list[str]:
    """The line styles of the kinds that occur."""
    members: dict[str, list[str]] = {}
    for key, one in sizes.items():
        members.setdefault("alarm" if key == scene.alarm else one.outline, []).append(numbers[key])
    for key in scene.frames:
        members.setdefault(nesting.frames[key].kind, []).append(numbers[key])
    out = []
    for kind, style in _STYLES.items():
        if kind in members:
            out += [f"  classDef {kind} {style}", f"  class {','.join(members[kind])} {kind}"]
    return out


def _quoted(lines: list[str]) -> str:
    safe = [_UNSAFE.sub(lambda found: f"#{ord(found[0])};", clean(line)) for line in lines]
    return f'"{"<br/>".join(safe)}"'
