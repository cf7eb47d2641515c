"""Counts requests: lets a tenant ask as often as it may, says so in headers, and keeps the daily totals."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from services.config import Settings
from services.db.engine import Database
from services.errors import RateLimited
from services.limits.ledger import Ledger
from services.limits.rates import WINDOW_SECONDS, Allowance, Rates
from services.tenants.service import Principal
from services.usage.requests import Tally, add_requests

EXCHANGE_SECONDS = 1.0
TALLY_SECONDS = 5.0
"""What a process has counted for ``/v1/usage`` and not yet stored is lost when it is killed."""

Header = tuple[bytes, bytes]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Meter:
    """The counts of one API process; `admit` is called by the event loop alone."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._limit = settings.max_requests_per_minute
        self._database = database
        self._ledger = Ledger(settings.redis_url)
        self._rates = Rates()
        self._tally = Tally()
        # Of its own: a Redis that does not answer would hold one of the threads that requests need.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="meter")

    def admit(self, principal: Principal) -> Allowance:
        """Count a request.

        Raises:
            RateLimited: the tenant has made as many as it may.
        """
        limit = principal.limits.get("requests_per_minute", self._limit)
        try:
            allowance = self._rates.take(principal.tenant_id, limit)
        except RateLimited:
            self._tally.refused[principal.tenant_id] += 1
            raise
        self._tally.requests[principal.tenant_id] += 1
        return allowance

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchange counts with the other processes while this is entered, and store the totals."""
        tasks = [asyncio.create_task(self._every(EXCHANGE_SECONDS, self.exchange))]
        tasks += [asyncio.create_task(self._every(TALLY_SECONDS, self.store))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.store()

    async def exchange(self) -> None:
        """Put this process's counts together with the others'."""
        sent = self._rates.send()
        if not sent:
            return
        answer = await self._in_thread(lambda: self._ledger.exchange(sent))
        if answer is None:
            self._rates.keep()
        else:
            self._rates.learn(*answer)

    async def store(self) -> None:
        """Add what was counted to the totals of the day."""
        tally, self._tally = self._tally, Tally()
        if not tally.requests and not tally.refused:
            return
        try:
            await self._in_thread(lambda: self._store(tally))
        except SQLAlchemyError as error:
            log.warning("requests are counted later: %s", type(error).__name__)
            self._tally.add(tally)

    def close(self) -> None:
        """Close the connections."""
        self._thread.shutdown()
        self._ledger.close()

    def _store(self, tally: Tally) -> None:
        with self._database.session() as session:
            add_requests(session, tally)

    async def _every(self, seconds: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except Exception:
                log.exception("counting requests failed; the next turn is in %g s", seconds)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def rate_headers(allowance: Allowance | None) -> list[Header]:
    """Return what an answer says of the rate.

    ``RateLimit`` and ``RateLimit-Policy`` are those of draft-ietf-httpapi-ratelimit-headers-10; the three others are
    of its drafts up to 07, which most clients that look at all look at.
    """
    if allowance is None:
        return []
    limit, remaining, reset = (b"%d" % n for n in (allowance.limit, allowance.remaining, allowance.reset_seconds))
    return [
        (b"ratelimit-policy", b'"tenant";q=%b;w=%d' % (limit, WINDOW_SECONDS)),
        (b"ratelimit", b'"tenant";r=%b;t=%b' % (remaining, reset)),
        (b"ratelimit-limit", limit),
        (b"ratelimit-remaining", remaining),
        (b"ratelimit-reset", reset),
    ]
