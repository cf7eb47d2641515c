"""Where the processes put their counts together: a number for each tenant and minute, in Redis."""

from __future__ import annotations

import logging

import redis

from services.limits.rates import WINDOW_SECONDS, Key

_EXPIRE_SECONDS = 3 * WINDOW_SECONDS
_BATCH = 1_000

log = logging.getLogger(__name__)


class Ledger:
    """Exchanges counts with the other processes; without Redis each goes on with its own."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
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
