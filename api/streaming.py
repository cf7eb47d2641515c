"""Streams verified chunks to a client in constant memory; a failure cuts the connection instead of ending it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.errors import ModelwrightError

log = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""A client that takes nothing for so long is cut off: it holds two chunks of our memory."""


class ContentResponse(Response):
    """Sends ``chunks``, which together have exactly the declared ``Content-Length``.

    The next chunk is read while the last one is on its way. When reading fails, the answer stays shorter than declared
    and the server closes the socket: no client can take the part for the whole.
    """

    def __init__(self, chunks: Iterator[bytes], *, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status_code, headers=headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or as much of it as can be vouched for."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if "modelwright.head" in scope.get("extensions", {}) or await self._send_chunks(receive, send):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, receive: Receive, send: Send) -> bool:
        """Return whether all of them went; each is read in a thread while the one before is being sent."""
        client_gone = asyncio.ensure_future(_disconnected(receive))
        coming = self._next()
        try:
            while (chunk := await coming) is not None and not client_gone.done():
                coming = self._next()
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (ModelwrightError, SQLAlchemyError, TimeoutError) as error:
            log.error("download cut off: %s", getattr(error, "code", type(error).__name__), exc_info=error)
            return False
        finally:
            client_gone.cancel()
            with suppress(Exception):
                await coming  # a thread cannot be interrupted: what it read is dropped
        return chunk is None

    def _next(self) -> asyncio.Future[bytes | None]:
        return asyncio.ensure_future(run_in_threadpool(next, self._chunks, None))


class LinesResponse(ContentResponse):
    """Sends pieces whose number nobody knows before: in chunks, of which the last is missing when reading fails."""

    def __init__(self, chunks: Iterator[bytes], *, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(chunks, status_code=status_code, headers=headers)
        del self.headers["content-length"]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
