"""Which form of a graph a client wants, and the answer in that form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import Field

from api.query import NoQuery, ParameterProblem
from api.responses import accepted, json_answer, tagged_json, tagged_text
from services.errors import InvalidRequest, Problem
from services.pictures.render import MEDIA_TYPES, Format, render
from services.training.model import MAX_SEED

BESIDE = {kind: {"schema": {"type": "string"}} for name, kind in MEDIA_TYPES.items() if name != "json"}
"""The pictures' media types, for the OpenAPI document."""
_VARY = {"Vary": "Accept, Authorization"}


class PictureQuery(NoQuery):
    """How a graph is shown."""

    format: Format | None = Field(None, description="`svg`, `mermaid` or `dot` for a picture; else as `Accept` says.")
    collapse: str = Field(
        "auto",
        max_length=2000,
        description="Of a picture: `auto`, `none`, `depth:N` (modules deeper than N are closed), or paths of modules "
        "to close, with commas.",
    )


class ModelGraphQuery(PictureQuery):
    """``GET /v1/models/{id}/graph``."""

    mode: Literal["train", "eval"] = Field("train", description="In which mode the model runs.")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of the weights and of the sampled inputs.")
    gradients: bool = Field(False, description="Whether gradients are computed, and drawn by their width.")


def picture_answer(request: Request, graph: Mapping[str, Any], query: PictureQuery) -> Response:
    """Return the graph as JSON or as a picture.

    Raises:
        InvalidRequest: ``collapse_invalid``, ``picture_too_large``, ``picture_failed``.
        Unavailable: too many pictures are being drawn.
    """
    wanted = query.format or _preferred(request.headers.get("accept", ""))
    if wanted == "json":
        return json_answer(graph, headers=_VARY)
    text = _drawn(graph, wanted, query.collapse)
    return Response(text, media_type=_media_type(wanted), headers=_VARY)


def tagged_picture(request: Request, graph: Mapping[str, Any], query: PictureQuery) -> Response:
    """Return the same with an entity tag, or 304 when the client has it.

    Raises:
        InvalidRequest, Unavailable: as `picture_answer`.
    """
    wanted = query.format or _preferred(request.headers.get("accept", ""))
    if wanted == "json":
        return tagged_json(request, graph)
    text = _drawn(graph, wanted, query.collapse)
    return tagged_text(request, text, media_type=_media_type(wanted))


def _preferred(accept: str) -> Format:
    """Return the form that an ``Accept`` header weighs most; JSON unless a picture is named and weighs more."""
    weights = accepted(accept)
    best: Format = "json"
    weight = weights.get("application/json", 0.0)
    for name, kind in MEDIA_TYPES.items():
        if weights.get(kind, 0.0) > weight:
            best, weight = name, weights[kind]
    return best


def _media_type(wanted: Format) -> str:
    kind = MEDIA_TYPES[wanted]
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _drawn(graph: Mapping[str, Any], wanted: Format, collapse: str) -> str:
    title = graph["modules"][0]["type"] if graph["modules"] else ""
    try:
        return render(graph, wanted, collapse=collapse, title=title)
    except InvalidRequest as error:
        raise InvalidRequest([_of_parameter(problem) for problem in error.problems]) from None


def _of_parameter(problem: Problem) -> Problem:
    """A picture's problems are about what stands behind the ``?``."""
    name = "collapse" if problem.code == "collapse_invalid" else "format"
    return ParameterProblem(problem.code, problem.detail, hint=problem.hint, parameter=name)
