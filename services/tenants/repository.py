"""All SQL about tenants and their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.db.models import ApiKey, Tenant

_NOTED = text("now() - interval '1 minute'")
"""Uses are noted to the minute, so that a key in steady use costs one write a minute and process."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What authentication needs of a key; times are judged by the database's clock.

    ``unnoted``: its last use on record is over a minute ago; ``limits``: those of its tenant.
    """

    tenant_id: str
    secret_sha256: bytes
    scopes: Sequence[str]
    expired: bool
    revoked: bool
    unnoted: bool
    limits: Mapping[str, int]


def insert_tenant(session: Session, *, tenant_id: str, name: str) -> Tenant:
    """Insert a tenant, or return the one that has this name already."""
    statement = insert(Tenant).values(id=tenant_id, name=name).on_conflict_do_nothing(index_elements=[Tenant.name])
    session.execute(statement)
    return session.scalars(select(Tenant).where(Tenant.name == name)).one()


def insert_key(session: Session, key: ApiKey) -> ApiKey:
    """Insert a key."""
    session.add(key)
    session.flush()
    return key


def find_key(session: Session, key_id: str) -> StoredKey | None:
    """Return the key with this public id."""
    row = session.execute(
        select(
            ApiKey.tenant_id,
            ApiKey.secret_sha256,
            ApiKey.scopes,
            _passed(ApiKey.expires_at),
            _passed(ApiKey.revoked_at),
            func.coalesce(ApiKey.last_used_at < _NOTED, True),
            Tenant.limits,
        )
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(ApiKey.id == key_id)
    ).one_or_none()
    return StoredKey(*row) if row else None


def note_use(session: Session, *, key_id: str) -> None:
    """Write down that a key is in use, unless somebody did within the minute."""
    idle = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < _NOTED)
    session.execute(update(ApiKey).where(ApiKey.id == key_id, idle).values(last_used_at=func.now()))


def revoke_key(session: Session, *, tenant_id: str, key_id: str) -> bool:
    """Mark a key revoked, once; return whether the tenant has such a key."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.id)
    )
    return session.execute(statement).one_or_none() is not None


def find_tenants_key(session: Session, *, tenant_id: str, key_id: str, locked: bool = False) -> ApiKey | None:
    """Return the tenant's key, with its row locked until the transaction ends where that is asked."""
    query = select(ApiKey).where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)
    return session.scalar(query.with_for_update() if locked else query)


def page_of_keys(session: Session, *, tenant_id: str, limit: int, before: ApiKey | None) -> list[ApiKey]:
    """Return up to ``limit`` of the tenant's keys, newest first, made before that one."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id)
    if before is not None:
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < (before.created_at, before.id))
    return list(session.scalars(query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit)))


def count_good_keys(session: Session, *, tenant_id: str) -> int:
    """Return how many of the tenant's keys are neither revoked nor expired."""
    good = select(func.count()).where(
        ApiKey.tenant_id == tenant_id, ApiKey.revoked_at.is_(None), ~_passed(ApiKey.expires_at)
    )
    return session.scalar(good) or 0


def now(session: Session) -> datetime:
    """Return the time of the transaction by the database's clock."""
    return session.scalars(select(func.now())).one()


def _passed(moment: InstrumentedAttribute[datetime | None]) -> ColumnElement[bool]:
    return func.coalesce(moment <= func.now(), False)
