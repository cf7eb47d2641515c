"""How answers are written: JSON with an entity tag, lists, CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response

from api.ranges import is_unchanged
from services.pages import Page

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))  # `json.dumps` makes one a call
_PRIVATE = "private, no-cache"  # may be kept by the client, asked about each time


def json_answer(content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return ``content`` as JSON."""
    return Response(encode(content), status_code=status, media_type="application/json", headers=dict(headers or {}))


def tagged_json(request: Request, content: Mapping[str, Any]) -> Response:
    """Return ``content`` with a strong entity tag of its bytes, or 304 when the client has them."""
    return _tagged(request, encode(content), media_type="application/json")


def tagged_text(request: Request, content: str, *, media_type: str) -> Response:
    """Return text with a strong entity tag of its bytes, or 304 when the client has them."""
    return _tagged(request, content.encode("utf-8"), media_type=media_type)


def list_answer(page: Page) -> Response:
    """Return one page of a list."""
    return json_answer({"object": "list", "data": page.data, "has_more": page.has_more, "last_id": page.last_id})


def csv_answer(metrics: Mapping[str, Any]) -> Response:
    """Return metrics as rows of series, step and value; what JSON cannot say is spelt out (``nan``, ``-infinity``)."""
    rows: list[list[str]] = [["series", "step", "value"]]
    for name, series in metrics["series"].items():
        spelled = {one["step"]: one["value"] for one in series["non_finite"]}
        for step, value in zip(series["steps"], series["values"], strict=True):
            rows.append([name, str(step), spelled.get(step, "nan") if value is None else repr(value)])
    return csv_rows(rows)


def csv_rows(rows: Iterable[Sequence[str]]) -> Response:
    """Return rows of text as CSV; the first names the columns."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return Response(text.getvalue(), media_type="text/csv; charset=utf-8", headers={"Vary": "Accept"})


def prefers_csv(accept: str) -> bool:
    """Whether an ``Accept`` header puts ``text/csv`` before JSON; with equal weights the more exact name wins."""
    weights = accepted(accept)
    wanted = weights.get("text/csv", weights.get("text/*", 0.0))
    named = "application/json" in weights
    other = weights.get("application/json", weights.get("application/*", weights.get("*/*", 0.0)))
    return wanted > 0 and (wanted > other if named else wanted >= other)


def entity_tag(body: bytes) -> str:
    """Return a strong entity tag."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tagged_bytes(request: Request, body: bytes, tag: str, *, media_type: str = "application/json") -> Response:
    """Return bytes under their entity tag, or 304 when the client has them."""
    headers = {"ETag": tag, "Cache-Control": _PRIVATE, "Vary": "Authorization"}
    if is_unchanged(request.headers.get("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def accepted(accept: str) -> dict[str, float]:
    """Return each media type of an ``Accept`` header with its weight."""
    return dict(_weight(part) for part in accept[:1000].split(",") if part.strip())


def _weight(part: str) -> tuple[str, float]:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media_type, float(parameter[2:])
            except ValueError:
                return media_type, 0.0
    return media_type, 1.0


def _tagged(request: Request, body: bytes, *, media_type: str) -> Response:
    return tagged_bytes(request, body, entity_tag(body), media_type=media_type)


def encode(content: Mapping[str, Any]) -> bytes:
    """Return the bytes of ``content`` as JSON."""
    return _ENCODER.encode(content).encode("utf-8")
