"""Keep-alive clients that ask one server for so many seconds, in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What so many seconds of asking came to."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def ask(port: int, request: Callable[[], bytes], *, clients: int, seconds: float, status: int) -> Load:
    """Let ``clients`` send ``request()`` again as soon as each is answered; every answer must have ``status``."""
    return asyncio.run(_ask(port, request, clients, seconds, status))


async def _ask(port: int, request: Callable[[], bytes], clients: int, seconds: float, status: int) -> Load:
    latencies: list[float] = []
    begun = time.perf_counter()
    deadline = begun + seconds
    await asyncio.gather(*(_client(port, request, deadline, status, latencies) for _ in range(clients)))
    took = time.perf_counter() - begun
    latencies.sort()
    at = [latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1e3 for share in (0.5, 0.99)]
    return Load(len(latencies) / took, *at)


async def _client(
    port: int, request: Callable[[], bytes], deadline: float, status: int, latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    while (sent := time.perf_counter()) < deadline:
        writer.write(request())
        head = await reader.readuntil(b"\r\n\r\n")
        if int(head[9:12]) != status:
            raise SystemExit(f"wanted {status}: {head!r} {await reader.read(2000)!r}")
        await reader.readexactly(_content_length(head))
        latencies.append(time.perf_counter() - sent)
    writer.close()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    return 0 if at < 0 else int(lowered[at + 15 : lowered.index(b"\r\n", at)])
