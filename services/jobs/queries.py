"""Looking at jobs, as their tenant may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from services.errors import NotFound
from services.identifiers import check_id
from services.jobs import repository
from services.jobs.views import job_view
from services.pages import Page, id_cursor


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a job is, and a number that grows with every change that `get_job` shows."""

    tenant_id: str
    version: int


def get_job(session: Session, *, tenant_id: str, job_id: str) -> dict[str, Any]:
    """Return one job's view.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``.
    """
    found = repository.find(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if found is None:
        raise NotFound()
    return job_view(found)


def get_version(session: Session, *, tenant_id: str, job_id: str) -> int:
    """Return a number that grows with every change that `get_job` shows.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``.
    """
    version = repository.find_version(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if version is None:
        raise NotFound()
    return version


def find_owned(session: Session, *, job_ids: Sequence[str]) -> dict[str, Owned]:
    """Return whose each of these jobs is, of those that there are, and its version."""
    found = repository.find_owned_versions(session, job_ids=job_ids)
    return {job_id: Owned(tenant_id, version) for job_id, (tenant_id, version) in found.items()}


def list_jobs(
    session: Session,
    *,
    tenant_id: str,
    limit: int = 20,
    after: str | None = None,
    states: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    created_after: datetime | None = None,
) -> Page:
    """Return a page of the tenant's jobs, newest first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    rows = repository.page(
        session,
        tenant_id=tenant_id,
        limit=limit + 1,
        after=id_cursor(after, "job"),
        states=states,
        labels=labels or {},
        created_after=created_after,
    )
    return Page.of([job_view(row) for row in rows], limit=limit)
