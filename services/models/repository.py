"""All SQL about models."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.models import Model


def find(session: Session, *, tenant_id: str, model_id: str) -> Model | None:
    """Return the tenant's model."""
    return session.scalar(select(Model).where(Model.id == model_id, Model.tenant_id == tenant_id))


def find_by_content(session: Session, *, tenant_id: str, sha256: str) -> Model | None:
    """Return the tenant's model of this content."""
    return session.scalar(select(Model).where(Model.sha256 == sha256, Model.tenant_id == tenant_id))


def page(
    session: Session, *, tenant_id: str, limit: int, after: str | None, created_after: datetime | None
) -> list[Model]:
    """Return up to ``limit`` models, newest first, older than ``after``."""
    query = select(Model).where(Model.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Model.id < after)
    if created_after is not None:
        query = query.where(Model.created_at > created_after)
    return list(session.scalars(query.order_by(Model.id.desc()).limit(limit)))


def insert_unless_there(session: Session, row: dict[str, object]) -> bool:
    """Insert a model unless the tenant has one of the same content; return whether it was inserted."""
    statement = insert(Model).values(row).on_conflict_do_nothing(index_elements=["tenant_id", "sha256"])
    return session.execute(statement.returning(Model.id)).first() is not None


def count(session: Session, *, tenant_id: str) -> int:
    """Return how many models a tenant keeps."""
    return session.scalar(select(func.count()).where(Model.tenant_id == tenant_id)) or 0
