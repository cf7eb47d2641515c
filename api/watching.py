"""Waiting for jobs to change: one look at the database, four times a second, for all who wait in this process.

Whoever waits costs no thread and no connection, and nothing but PostgreSQL is needed to wake up: see decision 0022.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from services.errors import QuotaExceeded, Unavailable

LOOK_SECONDS = 0.25
MAX_WAITING = 5_000
"""So many requests may wait in one process; each holds a socket and some tens of kilobytes."""

log = logging.getLogger(__name__)
Versions = Callable[[Sequence[str]], Mapping[str, int]]


@dataclass(eq=False, slots=True)
class _Waiter:
    version: int
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class TooManyStreams(QuotaExceeded):
    """The tenant has as many streams open as it may have."""

    code = "too_many_streams"


class Watcher:
    """Wakes those who wait for a job when its version is no longer the one that they know."""

    def __init__(self, versions: Versions, *, max_streams: int = MAX_WAITING) -> None:
        """``versions`` reads the versions of jobs; it is called in a thread, and only while somebody waits.

        ``max_streams`` is how many streams one tenant may have open here.
        """
        self._versions = versions
        self._max_streams = max_streams
        self._streams: Counter[str] = Counter()
        self._waiters: defaultdict[str, set[_Waiter]] = defaultdict(set)
        self._waiting = 0
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def stream(self, tenant_id: str) -> Iterator[None]:
        """Count one open stream of a tenant while the block runs.

        Raises:
            TooManyStreams: it has as many as it may have.
        """
        if self._streams[tenant_id] >= self._max_streams:
            raise TooManyStreams(f"{self._max_streams} open streams are the limit.", hint="Close some, or list events.")
        self._streams[tenant_id] += 1
        try:
            yield
        finally:
            self._streams[tenant_id] -= 1
            if not self._streams[tenant_id]:
                del self._streams[tenant_id]

    async def changed(self, job_id: str, version: int, *, timeout_seconds: float) -> bool:
        """Wait until the job's version is not ``version``; False if that takes longer than the time given.

        While the database is away it is True: the next read tells why.

        Raises:
            Unavailable: too many wait already.
        """
        if self._waiting >= MAX_WAITING:
            raise Unavailable("Too many requests wait for changes here.")
        waiter = _Waiter(version)
        self._waiters[job_id].add(waiter)
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(waiter.changed.wait(), timeout_seconds)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            self._forget(job_id, waiter)

    async def _look(self) -> None:
        while self._waiters:
            await asyncio.sleep(LOOK_SECONDS)
            asked = [*self._waiters]
            try:
                versions = await run_in_threadpool(self._versions, asked)
            except SQLAlchemyError as error:
                log.warning("no look at changes: %s", error)
                versions = {}
            for job_id in asked:
                for waiter in self._waiters.get(job_id, ()):
                    if waiter.version != versions.get(job_id):
                        waiter.changed.set()

    def _forget(self, job_id: str, waiter: _Waiter) -> None:
        self._waiting -= 1
        self._waiters[job_id].discard(waiter)
        if not self._waiters[job_id]:
            del self._waiters[job_id]
