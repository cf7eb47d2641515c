"""What one picture shows once some frames are closed: boxes, open frames around them, and links between boxes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from services.pictures.document import Datum, Document, Operation
from services.pictures.frames import Frame, Nesting, Path

BoxKind = Literal["data", "operation", "group"]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing that is drawn as a node: data, an operation, or a closed frame."""

    id: str
    kind: BoxKind
    subject: Datum | Operation | Frame
    inside: Path
    """Open frames around it, the outermost first."""
    note: str = ""
    """Which turn or call it is, where it would be alone in a frame that says so."""


@dataclass(slots=True)
class Link:
    """One line from a box to a box; several connections between the same two are one line."""

    source: str
    target: str
    labels: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    """Names of what flows there, for the tooltip."""
    gradient: float | None = None
    """The largest norm of a gradient that flows back along it; None where none does."""


@dataclass(slots=True)
class Scene:
    """Everything that one picture shows."""

    boxes: dict[str, Box] = field(default_factory=dict)
    frames: dict[str, Path] = field(default_factory=dict)
    """Open frames, and the frames around each."""
    links: list[Link] = field(default_factory=list)
    alarm: str | None = None
    """The box of the first operation whose result is not finite, else of the first such gradient."""
    alarm_text: str = "⚠ first not finite"

    @property
    def brief(self) -> bool:
        """Whether something is closed: then large tensors between boxes show their shape alone."""
        return any(box.kind == "group" for box in self.boxes.values())

    def walk(self) -> Iterator[tuple[Literal["box", "open", "close"], str, int]]:
        """Go through boxes and frames as they are nested: what, its id, and how deep."""
        boxes: dict[str | None, list[str]] = {}
        frames: dict[str | None, list[str]] = {}
        for box in self.boxes.values():
            boxes.setdefault(box.inside[-1] if box.inside else None, []).append(box.id)
        for key, around in self.frames.items():
            frames.setdefault(around[-1] if around else None, []).append(key)

        def within(frame: str | None, depth: int) -> Iterator[tuple[Literal["box", "open", "close"], str, int]]:
            for key in boxes.get(frame, ()):
                yield "box", key, depth
            for key in frames.get(frame, ()):
                yield "open", key, depth
                yield from within(key, depth + 1)
                yield "close", key, depth

        return within(None, 1)


def compose(document: Document, nesting: Nesting, closed: frozenset[str]) -> Scene:
    """Return what is seen with the frames ``closed``; what lies in them is one box each."""
    scene = Scene()
    shown: dict[str, str] = {}
    for datum in document.data.values():
        if datum.id in nesting.repeated:
            continue
        shown[datum.id] = _show(scene, nesting, datum, nesting.data[datum.id], closed)
    for operation in document.operations.values():
        shown[operation.id] = _show(scene, nesting, operation, nesting.operations[operation.id], closed)
        if operation.first_non_finite and scene.alarm is None:
            scene.alarm = shown[operation.id]
    if scene.alarm is None and document.wrong_gradient in shown:
        scene.alarm, scene.alarm_text = shown[document.wrong_gradient], "⚠ first ∂ not finite"
    _link(scene, document, nesting, shown)
    _without_lonely_frames(scene, nesting)
    return scene


def _without_lonely_frames(scene: Scene, nesting: Nesting) -> None:
    """Write turns and calls that hold one box into the box: a frame around it says no more."""
    held: dict[str, list[str]] = {}
    for key, box in scene.boxes.items():
        for frame in box.inside:
            held.setdefault(frame, []).append(key)
    lonely = {
        frame
        for frame, boxes in held.items()
        if nesting.frames[frame].kind in ("turn", "call")
        and len(boxes) == 1
        and scene.boxes[boxes[0]].inside[-1] == frame
    }
    for frame in lonely:
        box = scene.boxes[held[frame][0]]
        scene.boxes[box.id] = replace(box, inside=box.inside[:-1], note=nesting.frames[frame].label)
        del scene.frames[frame]


def _show(scene: Scene, nesting: Nesting, subject: Datum | Operation, path: Path, closed: frozenset[str]) -> str:
    """Add the box that stands for ``subject`` and the frames around it; return the box's id."""
    cut = next((index for index, key in enumerate(path) if key in closed), None)
    inside = path if cut is None else path[:cut]
    for index, key in enumerate(inside):
        scene.frames.setdefault(key, inside[:index])
    if cut is not None:
        key = path[cut]
        scene.boxes.setdefault(key, Box(key, "group", nesting.frames[key], inside))
        return key
    kind: BoxKind = "data" if isinstance(subject, Datum) else "operation"
    scene.boxes[subject.id] = Box(subject.id, kind, subject, inside)
    return subject.id


def _link(scene: Scene, document: Document, nesting: Nesting, shown: dict[str, str]) -> None:
    links: dict[tuple[str, str], Link] = {}
    for operation in document.operations.values():
        here, label = shown[operation.id], _call(scene, nesting, operation, shown)
        for key, gradient in zip(operation.inputs, operation.input_gradients, strict=True):
            datum = document.data[key]
            if key not in nesting.repeated:
                _connect(links, datum, (shown[key], here), label, gradient)
            elif here == operation.id:
                _connect(links, datum, (_copy(scene, datum, here), here), label, gradient)
        for key in operation.outputs:
            datum = document.data[key]
            _connect(links, datum, (here, shown[key]), label, datum.gradient_norm)
    scene.links = list(links.values())


def _copy(scene: Scene, datum: Datum, operation: str) -> str:
    """Add a box for a number at one operation that uses it."""
    key = f"{datum.id}@{operation}"
    scene.boxes.setdefault(key, Box(key, "data", datum, scene.boxes[operation].inside))
    return key


def _connect(
    links: dict[tuple[str, str], Link], datum: Datum, ends: tuple[str, str], label: str, gradient: float | None
) -> None:
    if ends[0] == ends[1]:
        return
    link = links.setdefault(ends, Link(*ends))
    if label and label not in link.labels:
        link.labels.append(label)
    name = datum.name or f"shape {datum.shape}"
    if name not in link.data:
        link.data.append(name)
    if gradient is not None:
        link.gradient = max(link.gradient or 0.0, gradient, key=lambda one: math.inf if math.isnan(one) else one)


def _call(scene: Scene, nesting: Nesting, operation: Operation, shown: dict[str, str]) -> str:
    """Which call it is, at the box of a module that is reached several times."""
    box = scene.boxes[shown[operation.id]]
    if box.kind != "group":
        return ""
    path = nesting.operations[operation.id]
    inner = path[path.index(box.id) + 1 : path.index(box.id) + 2]
    return nesting.frames[inner[0]].label if inner and nesting.frames[inner[0]].kind == "call" else ""
