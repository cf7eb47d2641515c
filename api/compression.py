"""gzip for answers of text, in one piece, to clients that take it; never for checkpoints, never for streams.

The entity tag of a compressed answer has its own suffix, as a strong tag names bytes: ``"abc"`` becomes ``"abc-gzip"``,
and conditional requests that come back with it are understood as ``"abc"``.
"""

from __future__ import annotations

import gzip
import re
from functools import partial
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.responses import accepted

MIN_BYTES = 1_400
"""What fits one packet gains nothing."""

LEVEL = 5
_INLINE_BYTES = 64 << 10  # compressing more than this would hold up the event loop for over a millisecond
_TEXT = re.compile(r"(application/([\w.-]+\+)?json|text/(?!event-stream)[\w.-]+|image/svg\+xml)\Z")
_SUFFIX = b'-gzip"'
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
        await self._app(asked, receive, _Answer(send, known=known).send if _takes_gzip(scope) else send)


class _Answer:
    """One answer on its way; the head of one that is worth it waits until its body has come, in one piece."""

    def __init__(self, send: Send, *, known: bool) -> None:
        self._send = send
        self._known = known
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", ())))
            message = {**message, "headers": headers.raw}
            if message["status"] == HTTPStatus.NOT_MODIFIED and self._known:
                _mark(headers)
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
            message = {**message, "body": await _gzip(message["body"])}
            headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(message["body"]))
            _mark(headers)
            start = {**start, "headers": headers.raw}
        await self._send(start)
        return message


async def _gzip(body: bytes) -> bytes:
    pack = partial(gzip.compress, body, compresslevel=LEVEL, mtime=0)
    return pack() if len(body) <= _INLINE_BYTES else await run_in_threadpool(pack)


def _takes_gzip(scope: Scope) -> bool:
    offered = accepted(Headers(scope=scope).get("accept-encoding", ""))
    return offered.get("gzip", offered.get("*", 0.0)) > 0


def _is_text(headers: MutableHeaders) -> bool:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_file = "accept-ranges" in headers  # of which parts may be asked for
    return "content-encoding" not in headers and not is_file and _TEXT.match(media_type) is not None


def _mark(headers: MutableHeaders) -> None:
    tag = headers.get("etag")
    if tag is not None:
        headers["ETag"] = tag[:-1] + _SUFFIX.decode()


def _without_suffix(scope: Scope) -> tuple[Scope, bool]:
    """Return the request with tags as the routes know them, and whether one was that of a compressed answer."""
    known = any(name in _CONDITIONS and _SUFFIX in value for name, value in scope["headers"])
    if not known:
        return scope, False
    plain = [(name, value.replace(_SUFFIX, b'"') if name in _CONDITIONS else value) for name, value in scope["headers"]]
    return {**scope, "headers": plain}, True
