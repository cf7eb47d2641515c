"""What a client can ask about the queue and the workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelwright.requests import Requests, path

Json = dict[str, Any]


class QueueCalls(Requests):
    """The methods for ``/v1/queue`` and ``/v1/workers``."""

    def queue(self, *, limit: int | None = None) -> Iterator[Json]:
        """Yield your queued jobs, the next one first, each with ``position``, ``ahead``, ``eta``, ``waiting_for``."""
        return self._pages("/v1/queue", [], limit)

    def queue_totals(self) -> Json:
        """Return how much waits and runs: of yours, your limits, and of the whole service."""
        totals: Json = self._get("/v1/queue", [("limit", 1)])["totals"]
        return totals

    def workers(self, *, limit: int | None = None) -> Iterator[Json]:
        """Yield the workers of the service: slots, device, versions, what they run, when they were last seen."""
        return self._pages("/v1/workers", [], limit)

    def get_worker(self, worker_id: str) -> Json:
        """Return a worker.

        Raises:
            NotFound: there is none, or it was not seen for ten minutes.
        """
        return self._get(path("workers", worker_id))
