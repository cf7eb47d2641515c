"""The database of a process as its settings say: with the object store for the bytes of chunks, if there is one."""

from __future__ import annotations

from services.config import Settings
from services.db.engine import IDLE_TRANSACTION_SECONDS, Database
from services.storage.objects import ObjectStore


def open_database(
    settings: Settings,
    *,
    pool_size: int,
    idle_transaction_seconds: float = IDLE_TRANSACTION_SECONDS,
    lock_seconds: float | None = None,
) -> Database:
    """Return connections to PostgreSQL; ``close`` also closes the object store. Nothing is sent yet."""
    return Database(
        settings.database_url,
        pool_size=pool_size,
        idle_transaction_seconds=idle_transaction_seconds,
        lock_seconds=lock_seconds,
        objects=None if settings.object_store is None else ObjectStore(settings.object_store),
    )
