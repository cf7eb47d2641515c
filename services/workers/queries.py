"""Looking at workers, as any tenant may: of what they run, each tenant is told its own jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.db.models import Job
from services.db.worker_models import WorkerSlot
from services.errors import NotFound
from services.identifiers import check_id
from services.pages import Page, id_cursor, timestamp
from services.workers.registry import LOST_SECONDS

STATES = ("idle", "busy", "draining", "lost")
_alive = WorkerSlot.seen_at > func.now() - func.make_interval(0, 0, 0, 0, 0, 0, LOST_SECONDS)


@dataclass(frozen=True, slots=True)
class Capacity:
    """So many slots that take jobs for these devices (``cpu``, ``cuda:2`` …)."""

    devices: frozenset[str]
    slots: int


def get_worker(session: Session, *, tenant_id: str, worker_id: str) -> dict[str, Any]:
    """Return one worker.

    Raises:
        NotFound: there is none, or it was not seen for so long that it is forgotten.
        InvalidRequest: ``invalid_id``.
    """
    views = _views(session, tenant_id, [check_id(worker_id, "wrk")])
    if not views:
        raise NotFound()
    return views[0]


def list_workers(session: Session, *, tenant_id: str, limit: int = 20, after: str | None = None) -> Page:
    """Return a page of workers, those that began first first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    known = select(WorkerSlot.worker_id).where(WorkerSlot.worker_id > (id_cursor(after, "wrk") or "")).distinct()
    ids = session.scalars(known.order_by(WorkerSlot.worker_id).limit(limit + 1)).all()
    return Page.of(_views(session, tenant_id, ids), limit=limit)


def capacities(session: Session) -> list[Capacity]:
    """Return what the live workers that do not drain can run."""
    taking = select(WorkerSlot.devices, func.count()).where(_alive, ~WorkerSlot.draining).group_by(WorkerSlot.devices)
    return [Capacity(frozenset(devices), slots) for devices, slots in session.execute(taking)]


def _views(session: Session, tenant_id: str, worker_ids: Sequence[str]) -> list[dict[str, Any]]:
    rows = session.execute(
        select(WorkerSlot, _alive.label("alive"), Job.id.label("job_id"), Job.tenant_id)
        .outerjoin(Job, (Job.owner == WorkerSlot.owner) & Job.lease_expires_at.is_not(None))
        .where(WorkerSlot.worker_id.in_(worker_ids))
        .order_by(WorkerSlot.worker_id, WorkerSlot.owner)
    ).all()
    return [_view(tenant_id, list(group)) for _, group in groupby(rows, key=lambda row: row.WorkerSlot.worker_id)]


def _view(tenant_id: str, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the public form of a worker: of slots that are lost beside live ones nothing is shown."""
    shown = [row for row in rows if row.alive] or rows
    newest: WorkerSlot = max((row.WorkerSlot for row in shown), key=lambda slot: slot.seen_at)
    running = [row for row in shown if row.job_id is not None]
    return {
        "id": newest.worker_id,
        "object": "worker",
        "state": _state(rows, newest, busy=bool(running)),
        "slots": len({row.WorkerSlot.owner for row in shown}),
        "busy": len(running),
        "draining": newest.draining,
        "devices": newest.devices,
        **newest.about,
        "running": [{"job_id": row.job_id if row.tenant_id == tenant_id else None} for row in running],
        "started_at": timestamp(min(row.WorkerSlot.started_at for row in shown)),
        "last_seen_at": timestamp(newest.seen_at),
    }


def _state(rows: Sequence[Any], newest: WorkerSlot, *, busy: bool) -> str:
    if not any(row.alive for row in rows):
        return "lost"
    if newest.draining:
        return "draining"
    return "busy" if busy else "idle"
