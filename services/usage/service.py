"""What a tenant has used and may use: jobs, training time, storage, requests, and each limit with what is left."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets.service import stored_bytes
from services.db.models import Checkpoint, Job, Model, Tenant
from services.db.sweep_models import Sweep
from services.jobs.states import STATES
from services.limits.quotas import LIMITS, effective
from services.limits.storage import measure
from services.tenants.granting import count_good_keys
from services.usage.requests import requests_of

_TRAINING_SECONDS = text(
    """
    SELECT coalesce(sum(extract(epoch FROM until - since)), 0)
    FROM (
        SELECT entry ->> 'state' AS state,
               (entry ->> 'at')::timestamptz AS since,
               coalesce(lead((entry ->> 'at')::timestamptz) OVER (PARTITION BY job.id ORDER BY place), now()) AS until
        FROM job, jsonb_array_elements(job.transitions) WITH ORDINALITY AS listed (entry, place)
        WHERE job.tenant_id = :tenant_id AND job.started_at IS NOT NULL
    ) AS spans
    WHERE state IN ('starting', 'running', 'pausing', 'cancelling')
    """
)
"""A job may be taken up several times: each stay with a worker counts, the waits between do not."""


def get_usage(session: Session, *, tenant_id: str, settings: Settings, rate_used: int) -> dict[str, Any]:
    """Return what a tenant has used; ``rate_used`` is how many requests it made within the last minute."""
    tenant = session.get_one(Tenant, tenant_id)
    jobs = _jobs(session, tenant_id)
    storage = _storage(session, tenant_id)
    used = {
        "unfinished_jobs": jobs["total"] - sum(jobs[state] for state in ("succeeded", "failed", "cancelled")),
        "active_sweeps": _count(session, Sweep.tenant_id == tenant_id, Sweep.finished_at.is_(None)),
        "models": _count(session, Model.tenant_id == tenant_id),
        "keys": count_good_keys(session, tenant_id=tenant_id),
        "dataset_bytes": storage["datasets_bytes"],
        "storage_bytes": storage["bytes"],
        "requests_per_minute": rate_used,
    }
    limits = effective(tenant.limits, settings)
    return {
        "object": "usage",
        "tenant": {"id": tenant.id, "name": tenant.name},
        "jobs": jobs,
        "training_seconds": round(float(session.scalar(_TRAINING_SECONDS, {"tenant_id": tenant_id}) or 0), 3),
        "storage": storage,
        "requests": requests_of(session, tenant_id=tenant_id),
        "limits": {name: _limit(name, limit, used.get(name)) for name, limit in limits.items()},
    }


def _jobs(session: Session, tenant_id: str) -> dict[str, int]:
    rows = session.execute(select(Job.state, func.count()).where(Job.tenant_id == tenant_id).group_by(Job.state))
    counts = dict.fromkeys(STATES, 0) | {state: count for state, count in rows}  # noqa: C416 - rows are no pairs
    return {**counts, "total": sum(counts.values())}


def _storage(session: Session, tenant_id: str) -> dict[str, int]:
    checkpoints = select(func.count()).where(Checkpoint.tenant_id == tenant_id)
    return {
        "bytes": measure(session, tenant_id=tenant_id),
        "datasets_bytes": stored_bytes(session, tenant_id=tenant_id),
        "checkpoints": session.scalar(checkpoints) or 0,
    }


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(*conditions)) or 0


def _limit(name: str, limit: int, used: int | None) -> dict[str, Any]:
    remaining = None if used is None else max(0, limit - used)
    return {"limit": limit, "used": used, "remaining": remaining, "counts": LIMITS[name].counts}
