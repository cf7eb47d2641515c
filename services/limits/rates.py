"""How often each tenant asks: counted here without asking anybody, and put together with other processes in Redis.

A request costs a look into a dictionary. About once a second `Ledger` adds what this process has counted to Redis, in
one round trip for all tenants, and learns what all processes together have. So a limit holds exactly within one
process, and over several to what the others let in since the last exchange. Without Redis each counts for itself.

The rate is that of a sliding window: the count of this minute, and of the one before what still lies within 60 s if
its requests came evenly (the approximation that Cloudflare described in 2017 for counting at scale).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.errors import RateLimited

WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a tenant may still ask: ``remaining`` requests, and the whole ``limit`` after ``reset_seconds``."""

    limit: int
    remaining: int
    reset_seconds: int


@dataclass(slots=True)
class Count:
    """Requests of one tenant in one window: those that Redis knows, those on their way there, those since."""

    known: int = 0
    sent: int = 0
    fresh: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.known + self.sent + self.fresh


Key = tuple[str, int]
"""A tenant, and the number of the minute."""


class Rates:
    """The counts of one process. Not for several threads: the event loop alone calls it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, offset_seconds: float | None = None) -> None:
        self._clock = clock
        # Until Redis has said what time it is; monotonic, so that setting a machine's clock moves no window.
        self._offset_seconds = time.time() - clock() if offset_seconds is None else offset_seconds
        self._counts: dict[Key, Count] = {}

    def take(self, tenant_id: str, limit: int) -> Allowance:
        """Count a request.

        Raises:
            RateLimited: the tenant has made ``limit`` within a minute; what is refused does not count.
        """
        now = self._clock() + self._offset_seconds
        window = int(now // WINDOW_SECONDS)
        elapsed = now - window * WINDOW_SECONDS
        count = self._counts.get((tenant_id, window))
        if count is None:
            count = self._counts[tenant_id, window] = Count()
        before = self._counts.get((tenant_id, window - 1))
        earlier = before.total if before is not None else 0
        used = count.total + earlier * (1 - elapsed / WINDOW_SECONDS)
        if used + 1 > limit:
            raise _refusal(limit, earlier, count.total, elapsed)
        count.fresh += 1
        return Allowance(limit, int(limit - used - 1), math.ceil(WINDOW_SECONDS - elapsed))

    def send(self) -> dict[Key, int]:
        """Return what is to be added to Redis, 0 for who is only to be asked about; then say `learn` or `keep`."""
        window = int((self._clock() + self._offset_seconds) // WINDOW_SECONDS)
        for key in [key for key in self._counts if key[1] < window - 1]:
            del self._counts[key]
        for count in self._counts.values():
            count.sent, count.fresh = count.sent + count.fresh, 0
        # Others may have seen a tenant in the minute before, though this process did not.
        asked = {(tenant_id, minute - 1): 0 for tenant_id, minute in self._counts if minute == window}
        return asked | {key: count.sent for key, count in self._counts.items()}

    def learn(self, totals: dict[Key, int], now: float) -> None:
        """Take over what all processes together have, and what time it is for all of them."""
        self._offset_seconds = now - self._clock()
        for key, total in totals.items():
            count = self._counts.setdefault(key, Count())
            count.known, count.sent = total, 0

    def keep(self) -> None:
        """Nobody answered: go on with what is known here."""
        for count in self._counts.values():
            count.known, count.sent = count.known + count.sent, 0


def _refusal(limit: int, earlier: int, current: int, elapsed: float) -> RateLimited:
    wait = _seconds_to_wait(limit, earlier, current, elapsed)
    return RateLimited(
        f"This tenant may make {limit} requests a minute.",
        limit=limit,
        retry_after_seconds=max(1, math.ceil(wait)),
        hint="Wait for `Retry-After` seconds; `?wait=30` and event streams need fewer requests than polling does.",
    )


def _seconds_to_wait(limit: int, earlier: int, current: int, elapsed: float) -> float:
    """Return when there is room for one more, if nobody asks meanwhile."""
    room = limit - current - 1
    if room >= 0 and earlier > 0:
        return WINDOW_SECONDS * (1 - room / earlier) - elapsed
    left = WINDOW_SECONDS - elapsed
    if limit < 1 or current == 0:
        return WINDOW_SECONDS
    return left + WINDOW_SECONDS * max(0.0, 1 - (limit - 1) / current)
