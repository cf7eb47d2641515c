"""The line of queued jobs as it stood at one moment: read in a few queries, then asked about any number of jobs.

Nothing here is kept up to date by writers: a submit that had to count those before it would wait for other submits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, select, text
from sqlalchemy.orm import Session

from services.db.models import Job, Tenant
from services.workers.queries import Capacity, capacities

MAX_KEYS = 10_000
"""So many jobs are known one by one; of a longer line every second, third … one, and places lie between those."""

Lane = tuple[str, int]
"""A device (``auto``, ``cpu``, ``cuda:2`` …) and a priority."""
Key = tuple[datetime, str]
"""What orders the jobs of a lane: when they were created, and their ids."""

_GROUPS = text(
    """
    SELECT tenant_id, device, priority, count(*), avg(CAST(estimate->>'likely_seconds' AS double precision))
      FROM job WHERE state = 'queued' AND held_until IS NULL GROUP BY tenant_id, device, priority
    """
)
_KEYS = text(
    """
    SELECT tenant_id, device, priority, created_at, id
      FROM (SELECT tenant_id, device, priority, created_at, id,
                   row_number() OVER (PARTITION BY tenant_id, device ORDER BY priority DESC, created_at, id) AS number
              FROM job WHERE state = 'queued' AND held_until IS NULL) AS numbered
     WHERE (number - 1) % :stride = 0
     ORDER BY tenant_id, device, priority DESC, created_at, id
    """
).bindparams(bindparam("stride"))
_SCHEDULED = text(
    "SELECT tenant_id, count(*) AS jobs FROM job WHERE state = 'queued' AND held_until IS NOT NULL GROUP BY tenant_id"
)
_RUNNING = text(
    """
    SELECT tenant_id, device, EXTRACT(EPOCH FROM now() - claimed_at)::float8 AS elapsed,
           CAST(estimate->>'likely_seconds' AS double precision) AS likely, progress
      FROM job WHERE lease_expires_at IS NOT NULL
    """
)


@dataclass(frozen=True, slots=True)
class Group:
    """The jobs of one tenant in one lane; ``seconds`` is what one of them takes on average, where that is known."""

    jobs: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Running:
    """A job that has a slot, and how many seconds it probably needs from here on."""

    tenant_id: str
    device: str
    remaining: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands among others: ``limit`` of running jobs (None: none), when a worker last took a job of it."""

    running: int
    limit: int | None
    served_at: datetime | None


@dataclass(frozen=True, slots=True)
class Line:
    """All queued jobs whose start time has come, those that run, and the slots that are there.

    ``scheduled`` counts the jobs of each tenant whose start time lies ahead.
    """

    as_of: datetime
    groups: dict[str, dict[Lane, Group]]
    keys: dict[tuple[str, Lane], list[Key]]
    stride: int
    standings: dict[str, Standing]
    running: list[Running]
    capacities: list[Capacity]
    scheduled: dict[str, int]
    max_running_jobs: int | None

    def queued(self, tenant_id: str | None = None) -> int:
        """Return how many jobs wait, of one tenant or of all."""
        tenants = self.groups.values() if tenant_id is None else [self.groups.get(tenant_id, {})]
        return sum(group.jobs for lanes in tenants for group in lanes.values())


def read_line(session: Session, *, max_running_jobs: int | None) -> Line:
    """Read the line; ``max_running_jobs`` is the limit of tenants that have none of their own."""
    as_of = session.execute(select(func.clock_timestamp())).scalar_one()
    groups: defaultdict[str, dict[Lane, Group]] = defaultdict(dict)
    for tenant_id, device, priority, jobs, seconds in session.execute(_GROUPS):
        groups[tenant_id][device, priority] = Group(jobs, seconds)
    stride = 1 + sum(group.jobs for lanes in groups.values() for group in lanes.values()) // MAX_KEYS
    keys: defaultdict[tuple[str, Lane], list[Key]] = defaultdict(list)
    for tenant_id, device, priority, created_at, job_id in session.execute(_KEYS, {"stride": stride}):
        keys[tenant_id, (device, priority)].append((created_at, job_id))
    scheduled = {row.tenant_id: row.jobs for row in session.execute(_SCHEDULED)}
    running = [_running(row) for row in session.execute(_RUNNING)]
    standings = _standings(session, {*groups, *(job.tenant_id for job in running)}, running, max_running_jobs)
    return Line(
        as_of, dict(groups), dict(keys), stride, standings, running, capacities(session), scheduled, max_running_jobs
    )


def _running(row: Row[Any]) -> Running:
    """Return a running job with what it needs by its pace, else by its estimate; None if neither is known."""
    progress, remaining = row.progress, None
    pace, total = progress.get("steps_per_second"), progress.get("total_steps")
    if pace and total:
        remaining = max(0.0, (total - progress.get("step", 0)) / pace)
    elif row.likely is not None:
        remaining = max(0.0, row.likely - (row.elapsed or 0.0))
    return Running(row.tenant_id, row.device, remaining)


def _standings(
    session: Session, tenant_ids: set[str], running: Sequence[Running], max_running_jobs: int | None
) -> dict[str, Standing]:
    last = select(func.max(Job.claimed_at)).where(Job.tenant_id == Tenant.id).scalar_subquery()
    rows = session.execute(select(Tenant.id, Tenant.max_running_jobs, last).where(Tenant.id.in_(tenant_ids)))
    counts: defaultdict[str, int] = defaultdict(int)
    for job in running:
        counts[job.tenant_id] += 1
    return {
        tenant_id: Standing(counts[tenant_id], max_running_jobs if own is None else own, served_at)
        for tenant_id, own, served_at in rows
    }
