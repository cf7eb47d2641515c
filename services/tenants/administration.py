"""What only the operator does: tenants, their limits, a first key. Whoever may open the database may do it, no key may.

Each deed is in the audit log of its tenant, without a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.audit.service import Deed, record
from services.config import Settings
from services.db.models import Tenant
from services.errors import InvalidRequest, NotFound, Problem
from services.limits.quotas import LIMITS, effective
from services.pages import timestamp
from services.tenants import granting, repository, service
from services.tenants.scopes import EVERYTHING
from services.training.problems import nearest

MAX_NAME_CHARACTERS = 200
MAX_LIMIT = 2**53
"""What every JSON reader still counts exactly."""
_DONE = 200


def list_tenants(session: Session, *, settings: Settings) -> list[dict[str, Any]]:
    """Return every tenant with its limits, oldest first."""
    return [_view(one, settings) for one in session.scalars(select(Tenant).order_by(Tenant.created_at, Tenant.id))]


def create(session: Session, *, name: str, limits: Mapping[str, int], settings: Settings) -> dict[str, Any]:
    """Make a tenant, or return the one of that name; ``limits`` are set in either case.

    Raises:
        InvalidRequest: the name is empty or too long; there is no such limit.
    """
    if not 0 < len(name.strip()) <= MAX_NAME_CHARACTERS or "\0" in name:
        raise InvalidRequest([Problem("out_of_range", f"A name has 1 to {MAX_NAME_CHARACTERS} characters.", "/name")])
    tenant = service.create_tenant(session, name=name)
    _note(session, tenant, "create")
    return change_limits(session, name=name, limits=limits, settings=settings)


def change_limits(
    session: Session, *, name: str, limits: Mapping[str, int | None], settings: Settings
) -> dict[str, Any]:
    """Set limits of a tenant, None for the service's default; they hold within a second.

    Raises:
        NotFound: there is no such tenant.
        InvalidRequest: ``unknown_limit``, ``out_of_range``.
    """
    tenant = get_tenant(session, name=name)
    problems = [
        Problem("unknown_limit", f"There is no limit {one[:40]!r}.", f"/limits/{one}", nearest(one, [*LIMITS]))
        for one in limits
        if one not in LIMITS
    ]
    problems += [
        Problem("out_of_range", f"{one} must be at least 0 and at most {MAX_LIMIT}.", f"/limits/{one}")
        for one, value in limits.items()
        if value is not None and not 0 <= value <= MAX_LIMIT
    ]
    if problems:
        raise InvalidRequest(problems)
    if limits:
        changed = {**tenant.limits, **limits}
        tenant.limits = {one: value for one, value in changed.items() if value is not None}
        said = " ".join(f"{one}={'default' if value is None else value}" for one, value in limits.items())
        _note(session, tenant, f"limits {said}")
    return _view(tenant, settings)


def make_key(
    session: Session, *, name: str, scopes: list[str], key_name: str, expires_in_seconds: int | None
) -> dict[str, Any]:
    """Make a key for a tenant and return its view with its text.

    Raises:
        NotFound: there is no such tenant.
        InvalidRequest: ``unknown_scope``.
    """
    tenant, now = get_tenant(session, name=name), repository.now(session)
    expires_at = None if expires_in_seconds is None else now + timedelta(seconds=expires_in_seconds)
    text, row = service.create_key(
        session, tenant_id=tenant.id, name=key_name, scopes=scopes or [EVERYTHING], expires_at=expires_at
    )
    session.refresh(row)
    _note(session, tenant, "key", object_id=row.id)
    return {**granting.view(row, now), "api_key": text}


def get_tenant(session: Session, *, name: str) -> Tenant:
    """Return the tenant of this name or id, its row locked.

    Raises:
        NotFound: there is none.
    """
    found = session.scalar(select(Tenant).where((Tenant.name == name) | (Tenant.id == name)).with_for_update())
    if found is None:
        raise NotFound(f"There is no tenant {name[:80]!r}.")
    return found


def _view(tenant: Tenant, settings: Settings) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "object": "tenant",
        "name": tenant.name,
        "created_at": timestamp(tenant.created_at),
        "own_limits": dict(tenant.limits),
        "limits": effective(tenant.limits, settings),
    }


def _note(session: Session, tenant: Tenant, what: str, *, object_id: str | None = None) -> None:
    record(session, Deed(tenant.id, None, f"tenants {what}", object_id or tenant.id, _DONE))
