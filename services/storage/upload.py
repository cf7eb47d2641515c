"""Storing files of this machine in the chunk store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from services.db.engine import Database
from services.failpoints import hit
from services.storage import chunks, layout
from services.storage.chunks import ChunkRef

_BYTES_A_TRANSACTION = 4 << 20
_CHUNKS_A_TRANSACTION = 256
_Place = tuple[Path, ChunkRef]


def upload_chunks(database: Database, *, tenant_id: str, refs: Mapping[Path, list[ChunkRef]]) -> None:
    """Store what is not stored yet, few chunks a transaction."""
    where = {ref.sha256: (path, ref) for path, of_file in refs.items() for ref in of_file}
    with database.session() as session:
        absent = chunks.missing(session, tenant_id=tenant_id, hashes=where)
    for batch in _batches(place for sha256, place in where.items() if sha256 in absent):
        contents = [layout.read_span(path, ref) for path, ref in batch]
        with database.session() as session:
            chunks.put(session, tenant_id=tenant_id, chunks=contents)
            hit("in_chunks")


def _batches(places: Iterable[_Place]) -> Iterator[list[_Place]]:
    """Yield what goes into one transaction: neither many bytes nor many rows."""
    batch: list[_Place] = []
    size = 0
    for path, ref in places:
        if batch and (size + ref.size_bytes > _BYTES_A_TRANSACTION or len(batch) == _CHUNKS_A_TRANSACTION):
            yield batch
            batch, size = [], 0
        batch.append((path, ref))
        size += ref.size_bytes
    if batch:
        yield batch
