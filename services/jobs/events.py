"""The history of a job: what happened to it, in order, each thing with an id that never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, JobEvent
from services.errors import InvalidRequest, NotFound, Problem
from services.identifiers import check_id
from services.jobs import repository
from services.pages import Page, timestamp

READ_AT_ONCE = 500
"""Events of one read of a follower."""
_PRIVATE = ("owner", "pid", "isolation")
"""Where and how a job runs is the operator's business."""


@dataclass(frozen=True, slots=True)
class News:
    """What a follower has not seen: ``sequence`` is where the next look goes on, ``complete`` that none will come."""

    events: list[dict[str, Any]]
    sequence: int
    version: int
    progress: dict[str, Any]
    complete: bool


def list_events(session: Session, *, tenant_id: str, job_id: str, limit: int = 20, after: str | None = None) -> Page:
    """Return a page of a job's events, oldest first; ``after`` is the id of the last one that is known.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``, ``invalid_cursor``.
    """
    sequence = find_place(session, tenant_id=tenant_id, job_id=job_id, event_id=after)
    rows = repository.events(session, job_id=job_id, after=sequence, limit=limit + 1)
    return Page.of([event_view(row) for row in rows], limit=limit)


def find_place(session: Session, *, tenant_id: str, job_id: str, event_id: str | None) -> int:
    """Return the sequence after which to go on: 0, the beginning, when no event is known.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``; ``invalid_cursor`` when the job has no such event.
    """
    _standing(session, tenant_id, job_id)
    if event_id is None:
        return 0
    try:
        sequence = repository.event_sequence(session, job_id=job_id, event_id=check_id(event_id, "evt"))
    except InvalidRequest:
        sequence = None
    if sequence is None:
        raise InvalidRequest([Problem("invalid_cursor", "It is not the id of an event of this job.")])
    return sequence


def read_news(session: Session, *, tenant_id: str, job_id: str, after: int) -> News:
    """Return what happened after sequence ``after``, `READ_AT_ONCE` events at most.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``.
    """
    version, state, progress = _standing(session, tenant_id, job_id)
    # After the state: the event of the last state is there by now, for both were written in one transaction.
    rows = repository.events(session, job_id=job_id, after=after, limit=READ_AT_ONCE)
    return News(
        events=[event_view(row) for row in rows],
        sequence=rows[-1].sequence if rows else after,
        version=version,
        progress=progress,
        complete=state in TERMINAL_STATES and len(rows) < READ_AT_ONCE,
    )


def versions(session: Session, *, job_ids: Sequence[str]) -> dict[str, int]:
    """Return the version of each job: whoever knows another one has something to read."""
    return repository.versions(session, job_ids=job_ids)


def event_view(event: JobEvent) -> dict[str, Any]:
    """Return the public form of an event."""
    return {
        "id": event.id,
        "object": "event",
        "type": event.type,
        "job_id": event.job_id,
        "created_at": timestamp(event.created_at),
        "data": _public(event.data),
    }


def _standing(session: Session, tenant_id: str, job_id: str) -> tuple[int, str, dict[str, Any]]:
    found = repository.find_standing(session, tenant_id=tenant_id, job_id=check_id(job_id, "job"))
    if found is None:
        raise NotFound()
    return found.version, found.state, found.progress


def _public(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _public(value) if isinstance(value, Mapping) else value
        for name, value in data.items()
        if name not in _PRIVATE
    }
