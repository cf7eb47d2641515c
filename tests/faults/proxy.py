"""A TCP port before a server, for tests: it passes bytes on until it is told to delay, swallow or cut them."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

_READ_BYTES = 1 << 16


class Proxy:
    """Listens on ``port`` of the loopback interface; every setting holds for open connections and for new ones."""

    def __init__(self, target: Path | int) -> None:
        self.port = 0
        self._target = target
        self._latency_seconds = 0.0
        self._left: int | None = None
        self._phrase = b""
        self._delivers_phrase = False
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._flowing = self._do(self._make_event())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def delay(self, seconds: float) -> None:
        """Hold everything back for so long."""
        self._latency_seconds = seconds

    def blackhole(self) -> None:
        """Keep connections open, take new ones, and let nothing through: what a pulled cable looks like."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def flow(self) -> None:
        """Let bytes through again, those that waited first."""
        self._latency_seconds = 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def reset(self) -> None:
        """Reset every open connection."""
        self._do(self._reset())

    def cut_after(self, answered_bytes: int) -> None:
        """Reset the connection over which the server has answered so many more bytes, once."""
        self._left = answered_bytes

    def cut_at(self, phrase: bytes, *, delivered: bool) -> None:
        """Reset the connection on which a client says ``phrase``, once: before the server hears it, or instead of
        passing on its answer."""
        self._phrase, self._delivers_phrase = phrase, delivered

    def takes(self, connection: Connection, data: bytes, *, from_client: bool) -> tuple[bytes, bool]:
        """Return what of ``data`` goes through, and whether the connection goes on."""
        if from_client and self._phrase and self._phrase in data:
            self._phrase = b""
            connection.is_doomed = self._delivers_phrase
            return (data, True) if self._delivers_phrase else (b"", False)
        if from_client:
            return data, True
        if connection.is_doomed:
            return b"", False
        if self._left is not None:
            if len(data) >= self._left:
                data, self._left = data[: self._left], None
                return data, False
            self._left -= len(data)
        return data, True

    async def wait_for_flow(self) -> None:
        """Wait as long as bytes are to be held back."""
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        await self._flowing.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, writer)
        self._connections.add(connection)
        try:
            await self._flowing.wait()
            server = await self._connect()
            await connection.run(reader, *server)
        except (OSError, asyncio.CancelledError):
            connection.reset()  # the server is away: so are we
        finally:
            self._connections.discard(connection)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _make_event(self) -> asyncio.Event:
        event = asyncio.Event()
        event.set()
        return event

    async def _reset(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _close(self) -> None:
        self._server.close()
        await self._reset()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)


class Connection:
    """One client and its connection to the server."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self.is_doomed = False
        self._proxy = proxy
        self._writers = [client]

    async def run(
        self, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        """Pass bytes on in both directions until one of them ends."""
        client = self._writers[0]
        self._writers.append(server)
        pumps = [
            asyncio.ensure_future(self._pump(from_client, server, from_client=True)),
            asyncio.ensure_future(self._pump(from_server, client, from_client=False)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for writer in self._writers:
                writer.close()

    def reset(self) -> None:
        """Cut both ends, the way a crashed machine answers."""
        for writer in self._writers:
            peer = writer.get_extra_info("socket")
            with suppress(OSError):
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_client: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                await self._proxy.wait_for_flow()
                passed, goes_on = self._proxy.takes(self, data, from_client=from_client)
                writer.write(passed)
                await writer.drain()
                if not goes_on:
                    self.reset()
                    return
