"""zstd or gzip for answers of text, in one piece, to clients that take it; never for checkpoints, never for streams.

The entity tag of a compressed answer has its own suffix, as a strong tag names bytes: ``"abc"`` becomes ``"abc-gzip"``
or ``"abc-zstd"``, and conditional requests that come back with either are understood as ``"abc"``.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus

import zstandard
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.responses import accepted

MIN_BYTES = 1_400
"""What fits one packet gains nothing."""

GZIP_LEVEL = 5
ZSTD_LEVEL = 3  # its window, 2 MiB, is within the 8 MiB that every receiver must take (RFC 9659)
_INLINE_BYTES = 64 << 10  # compressing more than this would hold up the event loop for over a millisecond
_TEXT = re.compile(r"(application/([\w.-]+\+)?json|text/(?!event-stream)[\w.-]+|image/svg\+xml)\Z")
_SUFFIX = re.compile(rb'-(?:gzip|zstd)"')
_CONDITIONS = (b"if-none-match", b"if-match")


class Compression:
    """Compresses what is whole, textual and worth it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked, known = _without_suffix(scope)  # what a client knows may have come compressed, whatever it takes now
        coding = _wanted_coding(scope)
        await self._app(asked, receive, send if coding is None else _Answer(send, coding, known=known).send)


class _Answer:
    """One answer on its way; the head of one that is worth it waits until its body has come, in one piece."""

    def __init__(self, send: Send, coding: str, *, known: bool) -> None:
        self._send = send
        self._coding = coding
        self._known = known
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            message = {**message, "headers": headers.raw}
            if message["status"] == HTTPStatus.NOT_MODIFIED and self._known:
                self._mark(headers)
            elif _is_text(headers):
                headers.add_vary_header("Accept-Encoding")
                if int(headers.get("content-length", "0")) >= MIN_BYTES:
                    self._start = message
                    return
        elif self._start is not None:
            message = await self._packed(self._start, message)
            self._start = None
        await self._send(message)

    async def _packed(self, start: Message, message: Message) -> Message:
        """Send the head of the compressed body and return that; what turns out to come in pieces stays as it is."""
        if not message.get("more_body", False):
            headers = MutableHeaders(raw=start["headers"])
            message = {**message, "body": await self._pack(message["body"])}
            headers["Content-Encoding"] = self._coding
            headers["Content-Length"] = str(len(message["body"]))
            self._mark(headers)
            start = {**start, "headers": headers.raw}
        await self._send(start)
        return message

    async def _pack(self, body: bytes) -> bytes:
        pack = partial(_CODINGS[self._coding], body)
        return pack() if len(body) <= _INLINE_BYTES else await run_in_threadpool(pack)

    def _mark(self, headers: MutableHeaders) -> None:
        """Name the compressed form by a tag of its own."""
        tag = headers.get("etag")
        if tag is not None:
            headers["ETag"] = f'{tag[:-1]}-{self._coding}"'


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=GZIP_LEVEL, mtime=0)


def _zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(body)  # one for each: they are not for several threads


_CODINGS: dict[str, Callable[[bytes], bytes]] = {"zstd": _zstd, "gzip": _gzip}
"""The first of those that a client wants equally is taken."""


def _wanted_coding(scope: Scope) -> str | None:
    """Return the coding that the client wants most; None when it takes none, or would rather have the plain text."""
    offered = accepted(Headers(scope=scope).get("accept-encoding", ""))
    # Whoever takes anything (`*`) gets gzip, which everything can read.
    weights = {"zstd": offered.get("zstd", 0.0), "gzip": offered.get("gzip", offered.get("*", 0.0))}
    best = max(_CODINGS, key=lambda coding: weights[coding])
    return best if weights[best] > 0 and weights[best] >= offered.get("identity", 0.0) else None


def _is_text(headers: MutableHeaders) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_file = "accept-ranges" in headers  # of which parts may be asked for
    return "content-encoding" not in headers and not is_file and _TEXT.match(media_type) is not None


def _without_suffix(scope: Scope) -> tuple[Scope, bool]:
    """Return the request with tags as the routes know them, and whether one was that of a compressed answer."""
    known = any(name in _CONDITIONS and _SUFFIX.search(value) for name, value in scope["headers"])
    if not known:
        return scope, False
    plain = [(name, _SUFFIX.sub(b'"', value) if name in _CONDITIONS else value) for name, value in scope["headers"]]
    return {**scope, "headers": plain}, True
