"""Streams verified chunks to a client in constant memory; a failure cuts the connection instead of ending it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import repeat

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.errors import ModelwrightError

log = logging.getLogger(__name__)

STALL_SECONDS = 60.0
"""A client that takes nothing for so long is cut off: it holds some chunks of our memory."""

READ_AHEAD = 3
"""Chunks that are read, each by a thread and a connection of its own, while the one before them is sent."""

Read = Callable[[], bytes | None]
"""Returns the next piece of what is sent, or None after the last one."""


class ContentResponse(Response):
    """Sends what ``reads`` return, in their order: together exactly the declared ``Content-Length``.

    The next chunks are read while the last one is on its way. When reading fails, the answer stays shorter than
    declared and the server closes the socket: no client can take the part for the whole.
    """

    def __init__(
        self, reads: Iterable[Read], *, status_code: int, headers: Mapping[str, str], read_ahead: int = READ_AHEAD
    ) -> None:
        super().__init__(status_code=status_code, headers=headers)
        self._read_ahead = read_ahead
        self._reads = iter(reads)
        self._coming: deque[asyncio.Future[bytes | None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or as much of it as can be vouched for."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if "modelwright.head" in scope.get("extensions", {}) or await self._send_chunks(receive, send):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_chunks(self, receive: Receive, send: Send) -> bool:
        """Return whether all of them went; they are read in threads while the one before is being sent."""
        client_gone = asyncio.ensure_future(_disconnected(receive))
        try:
            while (chunk := await self._next()) is not None and not client_gone.done():
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (ModelwrightError, SQLAlchemyError, TimeoutError) as error:
            log.error("download cut off: %s", getattr(error, "code", type(error).__name__), exc_info=error)
            return False
        finally:
            client_gone.cancel()
            # A thread cannot be interrupted: what it reads is dropped.
            await asyncio.gather(*self._coming, return_exceptions=True)
        return chunk is None

    async def _next(self) -> bytes | None:
        """Return the next chunk, with those after it on their way; None after the last."""
        self._begin()
        if not self._coming:
            return None
        chunk = await self._coming.popleft()
        if chunk is not None:
            self._begin()
        return chunk

    def _begin(self) -> None:
        while len(self._coming) < self._read_ahead and (read := next(self._reads, None)) is not None:
            self._coming.append(asyncio.ensure_future(run_in_threadpool(read)))


class LinesResponse(ContentResponse):
    """Sends pieces whose number nobody knows before: in chunks, of which the last is missing when reading fails."""

    def __init__(self, pieces: Iterator[bytes], *, status_code: int, headers: Mapping[str, str]) -> None:
        super().__init__(in_turn(pieces), status_code=status_code, headers=headers, read_ahead=1)
        del self.headers["content-length"]


def in_turn(pieces: Iterator[bytes]) -> Iterator[Read]:
    """Return reads of pieces that begin where the last one ended: one at a time may be under way."""
    return repeat(partial(next, pieces, None))


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
