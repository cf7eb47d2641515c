"""Threads beside the pool's, for what must not wait until one of those is free."""

from __future__ import annotations

from collections.abc import Callable

from anyio import CapacityLimiter, to_thread


async def at_once(call: Callable[[], object]) -> None:
    """Call in a thread of its own: all of the pool's may be waiting for the connection that this request holds."""
    await to_thread.run_sync(call, limiter=CapacityLimiter(1))
