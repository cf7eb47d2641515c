"""All SQL about tenants and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from services.db.models import ApiKey, Tenant


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What authentication needs of a key; ``expired`` and ``revoked`` are told by the database's clock."""

    tenant_id: str
    secret_sha256: bytes
    scopes: Sequence[str]
    expired: bool
    revoked: bool


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
        ).where(ApiKey.id == key_id)
    ).one_or_none()
    return StoredKey(*row) if row else None


def revoke_key(session: Session, *, tenant_id: str, key_id: str) -> bool:
    """Mark a key revoked, once; return whether the tenant has such a key."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.tenant_id == tenant_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.id)
    )
    return session.execute(statement).one_or_none() is not None


def _passed(moment: InstrumentedAttribute[datetime | None]) -> ColumnElement[bool]:
    return func.coalesce(moment <= func.now(), False)
