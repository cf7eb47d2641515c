"""Answers to clients that still send: deliver the answer, then swallow what comes, within bounds.

A server that closes a socket with unread data in it makes the kernel send a reset, and the reset can overtake the
answer: the client sees "connection reset" instead of 413. nginx calls the cure lingering close.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 << 20


class DrainingResponse(Response):
    """Sends itself whole, reads and drops the rest of the request, then closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, drain, end."""
        self.headers["connection"] = "close"
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        left -= len(message.get("body", b""))
