"""Storing files of this machine in the chunk store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from services.db.engine import Database
from services.storage import chunks, layout
from services.storage.chunks import ChunkRef

_CHUNKS_A_TRANSACTION = 4


def upload_chunks(database: Database, *, tenant_id: str, refs: Mapping[Path, list[ChunkRef]]) -> None:
    """Store what is not stored yet, few chunks a transaction."""
    where = {ref.sha256: (path, ref) for path, of_file in refs.items() for ref in of_file}
    with database.session() as session:
        absent = chunks.missing(session, tenant_id=tenant_id, hashes=where)
    todo = [place for sha256, place in where.items() if sha256 in absent]
    for first in range(0, len(todo), _CHUNKS_A_TRANSACTION):
        batch = [layout.read_span(path, ref) for path, ref in todo[first : first + _CHUNKS_A_TRANSACTION]]
        with database.session() as session:
            chunks.put(session, tenant_id=tenant_id, chunks=batch)
