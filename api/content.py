"""Answers of bytes: whole, one range, conditional; with the sha256 as strong entity tag and as ``Repr-Digest``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request, Response

from api.ranges import Span, is_unchanged, parse_range, range_applies
from api.streaming import READ_AHEAD, ContentResponse, Read


@dataclass(frozen=True, slots=True)
class Content:
    """A file to send; ``reads(start, end)`` returns what reads those bytes, piece by piece."""

    file_name: str
    sha256: str
    size_bytes: int
    reads: Callable[[int, int], Iterable[Read]]
    media_type: str = "application/octet-stream"
    read_ahead: int = READ_AHEAD


def content_answer(request: Request, content: Content) -> Response:
    """Return the file, or the part of it that is asked for (RFC 9110: Range, If-Range, If-None-Match; RFC 9530).

    Raises:
        RangeNotSatisfiable: the range lies outside.
    """
    headers = _headers(content)
    if is_unchanged(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    span = _span(request, etag=headers["ETag"], size=content.size_bytes)
    start, end = (span.start, span.end) if span else (0, content.size_bytes)
    if span:
        headers["Content-Range"] = span.content_range
    headers["Content-Length"] = str(end - start)
    status = HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK
    return ContentResponse(
        content.reads(start, end), status_code=status, headers=headers, read_ahead=content.read_ahead
    )


def _span(request: Request, *, etag: str, size: int) -> Span | None:
    """Return the one range to send; a range on HEAD, or of another version (`If-Range`), is the whole."""
    if "modelwright.head" in request.scope.get("extensions", {}):
        return None
    if not range_applies(request.headers.get("if-range"), etag):
        return None
    return parse_range(request.headers.get("range"), size)


def _headers(content: Content) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(content.sha256)).decode("ascii")
    return {
        "Content-Type": content.media_type,
        "Content-Disposition": f'attachment; filename="{content.file_name}"',
        "ETag": f'"{content.sha256}"',
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Vary": "Authorization",
    }
