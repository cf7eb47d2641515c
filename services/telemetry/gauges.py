"""What is the case right now, for Prometheus: the queue, what runs, what waits to be delivered. Each from an index."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

_JOBS = text(
    """
    SELECT state, count(*), max(extract(epoch FROM now() - greatest(created_at, start_after)))
           FILTER (WHERE held_until IS NULL), 0.0
    FROM job WHERE state = 'queued' GROUP BY 1
    UNION ALL
    SELECT state, count(*), NULL, coalesce(sum((progress ->> 'steps_per_second')::float8), 0.0)
    FROM job WHERE lease_expires_at IS NOT NULL GROUP BY 1
    """
)
_WEBHOOKS = text(
    """
    SELECT count(*), coalesce(max(extract(epoch FROM now() - d.asked_at)), 0)
    FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id WHERE d.state = 'pending' AND w.enabled
    """
)
SHOWN_STATES = ("queued", "starting", "running", "pausing", "cancelling")


@dataclass(frozen=True, slots=True)
class Gauges:
    """Of all tenants together; times in seconds."""

    jobs: dict[str, int]
    oldest_queued_seconds: float
    steps_per_second: float
    deliveries_pending: int
    oldest_delivery_seconds: float


def read_gauges(session: Session) -> Gauges:
    """Look at the indexes of what is queued, what is leased, what is to be delivered."""
    jobs = dict.fromkeys(SHOWN_STATES, 0)
    oldest = steps = 0.0
    for state, count, age, rate in session.execute(_JOBS):
        jobs[state] = count
        oldest, steps = max(oldest, float(age or 0.0)), steps + rate
    pending, waited = session.execute(_WEBHOOKS).one()
    return Gauges(jobs, oldest, steps, pending, float(waited))
