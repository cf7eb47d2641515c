"""Where the processes put their counts together: a number for each tenant and minute, in Redis."""

from __future__ import annotations

import logging

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.limits.rates import WINDOW_SECONDS, Key

_EXPIRE_SECONDS = 3 * WINDOW_SECONDS
_BATCH = 1_000
_SECONDS = 1.0

log = logging.getLogger(__name__)


class Ledger:
    """Exchanges counts with the other processes; without Redis each goes on with its own."""

    def __init__(self, url: str) -> None:
        # No repeats: the next exchange is a second away, and whoever stops the process waits for this one.
        self._client = redis.Redis.from_url(
            url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self.reachable = True

    def exchange(self, sent: dict[Key, int]) -> tuple[dict[Key, int], float] | None:
        """Add counts, and return those of all processes and the time by the clock of Redis; None if it is away."""
        try:
            answer = self._exchange(sent)
        except (redis.RedisError, OSError) as error:
            if self.reachable:
                log.warning("rates are counted by each process for itself: Redis is away (%s)", type(error).__name__)
            self.reachable = False
            return None
        if not self.reachable:
            log.warning("rates are counted over all processes again")
        self.reachable = True
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _exchange(self, sent: dict[Key, int]) -> tuple[dict[Key, int], float]:
        keys, totals = [*sent], dict[Key, int]()
        seconds, microseconds = self._client.time()
        for start in range(0, len(keys), _BATCH):
            batch = keys[start : start + _BATCH]
            pipe = self._client.pipeline(transaction=False)
            for tenant_id, window in batch:
                name = f"modelwright:rate:{tenant_id}:{window}"
                pipe.incrby(name, sent[tenant_id, window])
                pipe.expire(name, _EXPIRE_SECONDS)
            totals.update(zip(batch, pipe.execute()[::2], strict=True))
        return totals, seconds + microseconds / 1e6
