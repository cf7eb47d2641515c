"""Rows that tests begin with."""

from __future__ import annotations

from typing import Any

from services.db.engine import Database
from services.db.models import Job
from services.identifiers import new_id
from services.jobs.claims import Claim, claim_next
from services.jobs.states import appended, transition_entry

RESOLVED: dict[str, Any] = {
    "data": {"dataset": "digits"},
    "checkpoints": {"keep": 3},
    "resources": {"device": "auto"},
    "max_runtime_seconds": 3600,
}


def add_job(database: Database, tenant_id: str, **columns: Any) -> str:
    """Insert a queued job, as submit does, and return its id."""
    values: dict[str, Any] = {
        "id": new_id("job"),
        "tenant_id": tenant_id,
        "request": {},
        "resolved": RESOLVED,
        "definition_sha256": "0" * 64,
        "preflight": {},
        **columns,
    }
    with database.session() as session:
        job = Job(**values)
        session.add(job)
        session.flush()
        job.transitions = appended(transition_entry(job.state, None, 0))
    return str(values["id"])


def claim(database: Database, *, owner: str = "test/1", lease_seconds: float = 20.0) -> Claim:
    """Claim the next job; there must be one."""
    with database.session() as session:
        claimed = claim_next(session, owner=owner, devices=["cpu"], lease_seconds=lease_seconds)
    assert claimed is not None
    return claimed


def read_job(database: Database, job_id: str) -> Job:
    """Return a job's row as it stands."""
    with database.read_session() as session:
        job = session.get(Job, job_id)
    assert job is not None
    return job
