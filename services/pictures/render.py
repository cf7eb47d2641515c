"""One graph document in, one picture out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from services.errors import InvalidRequest, Problem
from services.pictures import collapse as opening
from services.pictures import dot, mermaid, views
from services.pictures.document import read
from services.pictures.frames import Nesting
from services.pictures.scene import compose

Format = Literal["svg", "mermaid", "dot", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "svg": "image/svg+xml",
    "mermaid": "application/vnd.mermaid",
    "dot": "text/vnd.graphviz",
    "json": "application/json",
}


def render(graph: Mapping[str, Any], format: Format, *, collapse: str = "auto", title: str = "") -> str:
    """Return the picture of a ``graph/1`` document; the same document gives the same text.

    ``collapse`` is ``auto`` (as much as a person takes in at a glance), ``none``, ``depth:N`` (modules deeper than N
    are closed), or the paths of the modules to close, with commas. ``json`` is the document itself.

    Raises:
        InvalidRequest: ``collapse`` is none of these (``collapse_invalid``), or there is too much to draw
            (``picture_too_large``).
        Unavailable: too many pictures are being drawn.
    """
    if format == "json":
        return json.dumps(graph, ensure_ascii=False, allow_nan=False)
    document = read(graph)
    nesting = Nesting(document)
    try:
        layers = opening.leaves(nesting, document)
        closed = opening.closed_frames(
            nesting, collapse, layers, lambda some: len(compose(document, nesting, some).boxes)
        )
    except ValueError as error:
        hint = "auto, none, depth:N, or paths of modules with commas."
        raise InvalidRequest([Problem("collapse_invalid", f"collapse: {error}.", hint=hint)]) from error
    if format == "svg":
        return views.render_svg(document, nesting, views.Opening(closed, layers), title or "Computational graph")
    scene = compose(document, nesting, closed)
    if len(scene.boxes) > views.MAX_BOXES:
        raise views.too_large(f"The picture would have {len(scene.boxes):,} boxes; {views.MAX_BOXES:,} can be drawn.")
    write = mermaid.write if format == "mermaid" else dot.write
    return write(document, nesting, scene, layers)
