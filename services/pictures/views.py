"""The whole SVG document: the picture at rest, and one view for each closed frame in which that frame is open.

A click leads from view to view by the ``:target`` of CSS: it works offline and without a script, and whatever shows
no CSS shows the picture at rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from services.errors import InvalidRequest, Problem
from services.pictures import collapse as opening
from services.pictures import engine, legend, svg
from services.pictures.captions import title as caption
from services.pictures.document import Document
from services.pictures.flow import Flow, flow
from services.pictures.frames import Nesting, Path
from services.pictures.layout import Placed, Sized, placed, sized, to_dot
from services.pictures.markup import FONT, element, number, text_of
from services.pictures.scene import Scene, compose

MAX_BOXES = 1_000
"""Of one picture; more is neither laid out in seconds nor read by anybody."""
MAX_VIEW_BOXES = 900
"""Of all views together; frames deeper than that reaches are not opened by a click, but by the service."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Which frames are closed in the picture at rest, and which are layers that no click opens."""

    closed: frozenset[str]
    layers: frozenset[str]


@dataclass(frozen=True, slots=True)
class _View:
    """One state: which frames are closed, and the ids that clicks in it lead to."""

    id: str
    scene: Scene
    closed: frozenset[str]
    links: Mapping[str, str]
    titles: Mapping[str, str]
    sizes: Mapping[str, Sized]


def render_svg(document: Document, nesting: Nesting, rest: Opening, title: str) -> str:
    """Return the SVG document.

    Raises:
        InvalidRequest: too much to draw (``picture_too_large``), or the engine gave up (``picture_failed``).
        Unavailable: too many pictures are being drawn.
    """
    home = compose(document, nesting, rest.closed)
    if len(home.boxes) > MAX_BOXES:
        raise too_large(f"The picture would have {len(home.boxes):,} boxes; {MAX_BOXES:,} can be drawn.")
    views = _views(document, nesting, home, rest)
    dots = [to_dot(view.scene, view.sizes, view.titles) for view in views]
    try:
        layouts = engine.lay_out(dots)
    except engine.LayoutFailed as error:
        detail, hint = "The engine found no layout for this picture.", "Ask for format=dot, mermaid or json."
        raise InvalidRequest([Problem("picture_failed", detail, hint=hint)]) from error
    scale = flow(document)
    drawn = []
    for view, layout in zip(views, layouts, strict=True):
        place = placed(view.scene, view.sizes, layout)
        drawn.append(_content(document, nesting, view, place, scale))
    return _document(views, drawn, title)


def too_large(detail: str) -> InvalidRequest:
    """Return the answer to a picture that nobody could read."""
    hint = "Ask for collapse=auto or depth:1, or for format=json."
    return InvalidRequest([Problem("picture_too_large", detail, hint=hint)])


def _views(document: Document, nesting: Nesting, home: Scene, rest: Opening) -> list[_View]:
    """The picture at rest first; then, from the outside in, one view for each frame that a click may open."""
    around = opening.chains(nesting)
    closed, layers = rest.closed, rest.layers
    states = {"": (closed, home)} | _openings(document, nesting, rest, around, MAX_VIEW_BOXES - len(home.boxes))
    stem = (
        "g"
        + hashlib.sha256(repr([(key, sorted(scene.boxes)) for key, (_, scene) in states.items()]).encode()).hexdigest()[
            :8
        ]
    )
    names = {key: f"{stem}-{index}" for index, key in enumerate(states)}
    made = []
    for key, (state, scene) in states.items():
        links = {one: names[one] for one in scene.boxes if one in names}
        for open_frame in scene.frames:
            if open_frame in names:  # opened by a click: its title closes it again
                outer = [one for one in around[open_frame][:-1] if one in names]
                links[open_frame] = names[outer[-1] if outer else ""]
        titles = {one: ("▾ " if one in links else "") + caption(nesting.frames[one]) for one in scene.frames}
        sizes = sized(scene, document.outputs, layers, links)
        made.append(_View(names[key], scene, state, links, titles, sizes))
    return made


def _openings(
    document: Document, nesting: Nesting, rest: Opening, around: Mapping[str, Path], left: int
) -> dict[str, tuple[frozenset[str], Scene]]:
    """Return the states that a click leads to, whole levels only: what opens in one place opens in its like."""
    found: dict[str, tuple[frozenset[str], Scene]] = {}
    parts = {key for key, frame in nesting.frames.items() if frame.kind in ("turn", "call") and key in around}
    keys = sorted((key for key in rest.closed - rest.layers - parts if key in around), key=lambda one: len(around[one]))
    for _, level in groupby(keys, key=lambda one: len(around[one])):
        opened = [(key, set(around[key])) for key in level]
        # Turns and calls open together with what they are turns and calls of.
        states = [(key, rest.closed - some - {one for one in parts if around[one][-2] in some}) for key, some in opened]
        scenes = {key: (state, compose(document, nesting, state)) for key, state in states}
        left -= sum(len(scene.boxes) for _, scene in scenes.values())
        if left < 0:
            break
        found |= scenes
    return found


def _content(document: Document, nesting: Nesting, view: _View, place: Placed, scale: Flow) -> tuple[float, float, str]:
    """Return width, height and content of one view with its legend."""
    drawing = svg.Drawing(view.scene, view.sizes, place, nesting.frames, view.titles, view.links, scale)
    notes = [scale.legend(), legend.truncated(document), _not_opened(view)]
    kinds = [one.outline for one in view.sizes.values()]
    wide, high, below = legend.draw(kinds, [note for note in notes if note], place.wide)
    shift = max(0.0, (wide - place.wide) / 2)
    moved = element("g", {"transform": f"translate({number(shift)} 0)"}, svg.draw(drawing))
    lower = element("g", {"transform": f"translate(0 {number(place.high)})"}, below)
    return max(wide, place.wide), place.high + high, moved + "\n" + lower


def _not_opened(view: _View) -> str:
    """Return what the legend says where a click opens some closed groups and not all."""
    groups = {key for key, one in view.sizes.items() if one.outline == "group"}
    return (
        "a group without ▸ opens in a picture of its own: collapse=none, depth:N, or paths"
        if groups - set(view.links)
        else ""
    )


def _document(views: Sequence[_View], drawn: Sequence[tuple[float, float, str]], title: str) -> str:
    wide, high, content = drawn[0]
    root: dict[str, object] = {"xmlns": "http://www.w3.org/2000/svg", "width": wide, "height": high}
    head = element("title", {}, text_of(title))
    style = {"font-family": FONT, "role": "img"}
    if len(views) == 1:
        box = f"0 0 {number(wide)} {number(high)}"
        return element("svg", {**root, "viewBox": box, **style}, head, _paper(), content)
    # Views that are larger than the picture at rest get the room they need where the browser knows :has.
    rules = [".view{display:none}", ".view:target{display:inline}", ".view:target~.home{display:none}"]
    parts = []
    for view, (w, h, inner) in zip(views, drawn, strict=True):
        rules.append(f"svg:has(>#{view.id}:target){{width:{number(w)}px;height:{number(h)}px}}")
        marks = {"id": view.id, "class": "home" if view is views[0] else "view"}
        size = {"width": "100%", "height": "100%", "viewBox": f"0 0 {number(w)} {number(h)}"}
        hidden = {} if view is views[0] else {"display": "none"}
        parts.append(element("svg", {**marks, **size, **hidden}, _paper(), inner))
    parts = [*parts[1:], parts[0]]
    return element("svg", {**root, **style}, head, element("style", {}, "".join(rules)), *parts)


def _paper() -> str:
    return element("rect", {"width": "100%", "height": "100%", "fill": "#fff"})
