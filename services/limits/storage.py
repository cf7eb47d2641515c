"""How many bytes a tenant's checkpoints and data sets take: added up at most once a minute, read for nothing else."""

from __future__ import annotations

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.models import Chunk, Tenant
from services.limits.quotas import effective, exceeded

_STALE = Tenant.stored_at < text("now() - interval '1 minute'")


def measure(session: Session, *, tenant_id: str) -> int:
    """Return how many bytes are stored for a tenant now; what is stored once for several is counted once."""
    return int(session.scalar(select(func.sum(Chunk.size_bytes)).where(Chunk.tenant_id == tenant_id)) or 0)


def check_storage(session: Session, *, tenant_id: str, settings: Settings, more_bytes: int = 0) -> None:
    """Refuse to begin what would store more when there is no room.

    Raises:
        QuotaExceeded: by a figure of at most a minute ago.
    """
    overrides, used, stale = session.execute(
        select(Tenant.limits, Tenant.stored_bytes, func.coalesce(_STALE, True)).where(Tenant.id == tenant_id)
    ).one()
    limit = effective(overrides, settings)["storage_bytes"]
    if stale:
        used = _measured(session, tenant_id) or used
    if used + more_bytes >= limit:
        raise exceeded("storage_bytes", used=used, limit=limit)


def _measured(session: Session, tenant_id: str) -> int | None:
    """Make a new figure; one of those who come at the same time does, and the others get None."""
    stale = func.coalesce(_STALE, True)
    taken = select(Tenant.id).where(Tenant.id == tenant_id, stale).with_for_update(skip_locked=True, key_share=True)
    if session.scalar(taken) is None:
        return None
    used = measure(session, tenant_id=tenant_id)
    fresh = update(Tenant).where(Tenant.id == tenant_id).values(stored_bytes=used, stored_at=func.now())
    session.execute(fresh, execution_options={"synchronize_session": False})
    return used
