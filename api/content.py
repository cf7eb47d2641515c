"""Answers of bytes: whole, one range, conditional; with the sha256 as strong entity tag and as ``Repr-Digest``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import Request, Response

from api.ranges import Span, is_unchanged, parse_range, range_applies
from api.streaming import READ_AHEAD, ContentResponse, Read
from services.storage.copies import Copies, WholeFile


@dataclass(frozen=True, slots=True)
class Content:
    """A file to send; ``reads(start, end)`` returns what reads those bytes, piece by piece."""

    file_name: str
    sha256: str
    size_bytes: int
    reads: Callable[[int, int], Iterable[Read]]
    media_type: str = "application/octet-stream"
    read_ahead: int = READ_AHEAD

    def pieces(self) -> Iterator[bytes]:
        """Yield all of it, one piece after the other."""
        for read in self.reads(0, self.size_bytes):
            if (piece := read()) is None:
                return
            yield piece


def content_answer(
    request: Request, content: Content, *, copies: Copies | None = None, tenant_id: str = ""
) -> Response:
    """Return the file, or the part of it that is asked for (RFC 9110: Range, If-Range, If-None-Match; RFC 9530).

    With ``copies`` whoever GETs what the object store has a copy of is sent there, but not who asks for a range of
    other bytes than these (`If-Range`): the store would not know.

    Raises:
        RangeNotSatisfiable: the range lies outside.
    """
    headers = _headers(content)
    if is_unchanged(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    span = _span(request, etag=headers["ETag"], size=content.size_bytes)
    if copies is not None and not _is_head(request) and range_applies(request.headers.get("if-range"), headers["ETag"]):
        whole = WholeFile(
            tenant_id, content.sha256, content.size_bytes, content.file_name, content.media_type, content.pieces
        )
        if (address := copies.find_address(whole)) is not None:
            return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=_elsewhere(headers, address))
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
    if _is_head(request) or not range_applies(request.headers.get("if-range"), etag):
        return None
    return parse_range(request.headers.get("range"), size)


def _is_head(request: Request) -> bool:
    return "modelwright.head" in request.scope.get("extensions", {})


def _elsewhere(headers: Mapping[str, str], address: str) -> dict[str, str]:
    """Return what a redirect says: where to, for this client and this minute alone."""
    return {"Location": address, "Cache-Control": "no-store", "Vary": headers["Vary"]}


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
