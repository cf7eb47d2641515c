"""The audit log: one entry for each call that changes something or tries to, kept for a year, never edited."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from services.db.accounting_models import AuditEntry
from services.db.clock import new_row_id
from services.pages import Page, id_cursor, timestamp

_BATCH = 10_000
_INSERT = insert(AuditEntry)  # run without the ORM: every call that changes something writes here


@dataclass(frozen=True, slots=True)
class Deed:
    """What a call did: ``action`` is ``METHOD path`` of its route, ``status`` its HTTP answer, ``code`` its problem."""

    tenant_id: str
    key_id: str | None
    action: str
    object_id: str | None
    status: int
    code: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for; None is any."""

    key_id: str | None = None
    object_id: str | None = None
    status: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def record(session: Session, deed: Deed) -> None:
    """Write a deed down, in the transaction of ``session``."""
    session.connection().execute(_INSERT, {"id": new_row_id(session, "aud"), **asdict(deed)})


def list_entries(
    session: Session, *, tenant_id: str, wanted: Wanted, limit: int = 20, after: str | None = None
) -> Page:
    """Return a page of what was done in a tenant, newest first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    cursor = id_cursor(after, "aud")
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id)
    query = query.where(AuditEntry.id < cursor) if cursor else query
    for name in ("key_id", "object_id", "status"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(AuditEntry, name) == value)
    if wanted.created_after is not None:
        query = query.where(AuditEntry.created_at > wanted.created_after)
    if wanted.created_before is not None:
        query = query.where(AuditEntry.created_at < wanted.created_before)
    rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit + 1))
    return Page.of([_view(row) for row in rows], limit=limit)


def forget_old(session: Session, *, days: int) -> int:
    """Delete the oldest entries of over ``days`` days, some at a time; return how many."""
    old = select(AuditEntry.id).where(AuditEntry.created_at < func.now() - func.make_interval(0, 0, 0, days))
    found = session.execute(delete(AuditEntry).where(AuditEntry.id.in_(old.limit(_BATCH))).returning(AuditEntry.id))
    return len(found.all())


def _view(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "object": "audit_entry",
        "key_id": entry.key_id,
        "action": entry.action,
        "object_id": entry.object_id,
        "status": entry.status,
        "code": entry.code,
        "request_id": entry.request_id,
        "created_at": timestamp(entry.created_at),
    }
