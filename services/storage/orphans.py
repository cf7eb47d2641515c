"""Objects that no row refers to: of writers that died before their commit, of collectors that died after theirs, and
copies of whole files (`services.storage.copies`), which have no rows.
"""

from __future__ import annotations

from sqlalchemy import select, tuple_

from services.db.engine import Database
from services.db.models import Chunk, Tenant

DAY_SECONDS = 86_400.0


def collect_orphans(
    database: Database, *, after: str | None = None, older_than_seconds: float = DAY_SECONDS, limit: int = 1000
) -> tuple[int, str | None]:
    """Look at the next ``limit`` objects, and delete those older than a day that have no row.

    A younger one may be a writer's that has not committed yet. Objects of tenants that this database does not know are
    left alone: another service may have been given the same place.

    Returns:
        How many were deleted, and after which key to go on; None: begin again.

    Raises:
        StoreUnavailable: the object store does not answer.
    """
    if database.objects is None:
        return 0, None
    listing = database.objects.list_old(after=after, older_than_seconds=older_than_seconds, limit=limit)
    chunks = {(name.tenant_id, name.sha256) for name in listing.old}
    with database.read_session() as session:  # after the listing: what has a row by now stays
        rows = session.execute(
            select(Chunk.tenant_id, Chunk.sha256, Chunk.object).where(tuple_(Chunk.tenant_id, Chunk.sha256).in_(chunks))
        )
        used = {(tenant, bytes(sha256), word) for tenant, sha256, word in rows}
        ours = set(session.scalars(select(Tenant.id).where(Tenant.id.in_({tenant for tenant, _ in chunks}))))
    orphans = [
        name for name in listing.old if name.tenant_id in ours and (name.tenant_id, name.sha256, name.word) not in used
    ]
    database.objects.delete(orphans)
    return len(orphans), listing.after
