"""Remembers, for less than a second, whose a key is, so that a busy client does not cost a query a request."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from services.tenants.service import Principal

TTL_SECONDS = 0.9  # a revoked key must be refused within 1 s
MAX_ENTRIES = 4096


class PrincipalCache:
    """Good keys only, by digest: a text that was refused is looked up again each time, at full cost.

    Safe to use from many threads: every step is one dictionary operation.
    """

    def __init__(self, *, ttl_seconds: float = TTL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl_seconds = ttl_seconds
        self._clock = clock
        self._entries: dict[bytes, tuple[float, Principal]] = {}

    def find(self, key_text: str) -> Principal | None:
        """Return whose key this was a moment ago."""
        until, principal = self._entries.get(_digest(key_text), (0.0, None))
        return principal if self._clock() < until else None

    def remember(self, key_text: str, principal: Principal, *, asked_at: float) -> None:
        """Keep an answer that the database gave to a question asked at ``asked_at`` on this cache's clock."""
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()  # as many keys within a second are no pattern worth a cleverer eviction
        self._entries[_digest(key_text)] = (asked_at + self.ttl_seconds, principal)

    def now(self) -> float:
        """Return this cache's clock, in seconds."""
        return self._clock()


def _digest(key_text: str) -> bytes:
    # The key itself is not kept: a core dump or a debugger shows digests.
    return hashlib.sha256(key_text.encode("utf-8", "surrogateescape")).digest()
