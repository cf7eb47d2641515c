"""How many bytes a tenant's checkpoints and data sets take: added up at most once a minute, read for nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.models import Chunk, Tenant
from services.limits.quotas import effective, exceeded

_STALE = func.coalesce(Tenant.stored_at < text("now() - interval '1 minute'"), True)
_STANDING = select(Tenant.limits, Tenant.stored_bytes, _STALE).where(Tenant.id == bindparam("tenant_id"))


def measure(session: Session, *, tenant_id: str) -> int:
    """Return how many bytes are stored for a tenant now; what is stored once for several is counted once."""
    return int(session.scalar(select(func.sum(Chunk.size_bytes)).where(Chunk.tenant_id == tenant_id)) or 0)


@dataclass(frozen=True, slots=True)
class Standing:
    """Every limit of a tenant, and what it stores by a figure that is ``stale`` after a minute."""

    limits: dict[str, int]
    stored_bytes: int
    stale: bool


def standing_of(session: Session, *, tenant_id: str, settings: Settings) -> Standing:
    """Return what checks need to know of a tenant, by one look."""
    own, used, stale = session.connection().execute(_STANDING, {"tenant_id": tenant_id}).one()
    return Standing(effective(own, settings), used, stale)


def check_storage(session: Session, *, tenant_id: str, settings: Settings, more_bytes: int = 0) -> None:
    """Refuse to begin what would store more when there is no room.

    Raises:
        QuotaExceeded: by a figure of at most a minute ago.
    """
    standing = standing_of(session, tenant_id=tenant_id, settings=settings)
    check_room(session, tenant_id=tenant_id, standing=standing, more_bytes=more_bytes)


def check_room(session: Session, *, tenant_id: str, standing: Standing, more_bytes: int = 0) -> None:
    """Do as `check_storage` does, with what was seen of the tenant.

    Raises:
        QuotaExceeded: by a figure of at most a minute ago.
    """
    used, limit = standing.stored_bytes, standing.limits["storage_bytes"]
    if standing.stale:
        used = _measured(session, tenant_id) or used
    if used + more_bytes >= limit:
        raise exceeded("storage_bytes", used=used, limit=limit)


def _measured(session: Session, tenant_id: str) -> int | None:
    """Make a new figure; one of those who come at the same time does, and the others get None."""
    taken = select(Tenant.id).where(Tenant.id == tenant_id, _STALE).with_for_update(skip_locked=True, key_share=True)
    if session.scalar(taken) is None:
        return None
    used = measure(session, tenant_id=tenant_id)
    fresh = update(Tenant).where(Tenant.id == tenant_id).values(stored_bytes=used, stored_at=func.now())
    session.execute(fresh, execution_options={"synchronize_session": False})
    return used
