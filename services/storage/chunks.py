"""The chunk store in PostgreSQL: bytes of up to 1 MiB, named by tenant and sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.dataset_models import DatasetChunk
from services.db.engine import BINARY
from services.db.models import CheckpointChunk, Chunk
from services.errors import ChunkCorrupt

MAX_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """Where one chunk lies in a file, and which bytes it must hold."""

    sha256: bytes
    offset_bytes: int
    size_bytes: int


def missing(session: Session, *, tenant_id: str, hashes: Iterable[bytes]) -> set[bytes]:
    """Return those of ``hashes`` that are not stored, and keep the others from the collector for another day."""
    wanted = set(hashes)
    stored = session.scalars(
        text(
            "UPDATE chunk SET created_at = now() WHERE tenant_id = :tenant AND sha256 = ANY(:hashes) "
            "AND octet_length(data) = size_bytes RETURNING sha256"
        ),
        {"tenant": tenant_id, "hashes": list(wanted)},
    )
    return wanted - {bytes(sha256) for sha256 in stored}


def put(session: Session, *, tenant_id: str, chunks: Sequence[bytes]) -> None:
    """Store chunks; one that is already there is left as it is, unless it was found damaged."""
    named = sorted((hashlib.sha256(data).digest(), data) for data in chunks)  # in one order: no two wait for each other
    rows = [{"tenant_id": tenant_id, "sha256": name, "size_bytes": len(data), "data": data} for name, data in named]
    if rows:
        new = insert(Chunk)
        emptied = func.octet_length(Chunk.data) != new.excluded.size_bytes
        again = new.on_conflict_do_update(
            index_elements=[Chunk.tenant_id, Chunk.sha256], set_={"data": new.excluded.data}, where=emptied
        )
        session.execute(again, rows)


def read(session: Session, *, tenant_id: str, ref: ChunkRef) -> bytes:
    """Return one chunk's bytes, verified.

    Raises:
        ChunkCorrupt: the chunk is missing or its bytes do not match their name.
    """
    query = select(Chunk.data).where(Chunk.tenant_id == tenant_id, Chunk.sha256 == ref.sha256)
    return _verified(session.scalar(query, execution_options=BINARY), ref)


def empty_damaged(session: Session, *, tenant_id: str, sha256: bytes) -> None:
    """Empty a chunk whose bytes are not what its name says, so that whoever stores them again really does.

    A resumed job makes the very bytes again that it lost; found by their name, they would be taken for stored.
    """
    session.execute(
        text("UPDATE chunk SET data = '' WHERE tenant_id = :tenant AND sha256 = :name AND sha256(data) <> :name"),
        {"tenant": tenant_id, "name": sha256},
    )


def runs(refs: Iterable[ChunkRef]) -> Iterator[list[ChunkRef]]:
    """Yield neighbouring chunks of a file together, up to `MAX_CHUNK_BYTES`: what is read at once."""
    run: list[ChunkRef] = []
    for ref in refs:
        if run and ref.offset_bytes + ref.size_bytes - run[0].offset_bytes > MAX_CHUNK_BYTES:
            yield run
            run = []
        run.append(ref)
    if run:
        yield run


def read_run(session: Session, *, tenant_id: str, run: Sequence[ChunkRef]) -> bytes:
    """Return the bytes of chunks that lie one behind the other, each verified.

    Raises:
        ChunkCorrupt: as `read`.
    """
    if len(run) == 1:
        return read(session, tenant_id=tenant_id, ref=run[0])
    wanted = {ref.sha256 for ref in run}
    query = select(Chunk.sha256, Chunk.data).where(Chunk.tenant_id == tenant_id, Chunk.sha256.in_(wanted))
    found = {bytes(sha256): bytes(data) for sha256, data in session.execute(query, execution_options=BINARY)}
    return b"".join(_verified(found.get(ref.sha256), ref) for ref in run)


def collect_garbage(session: Session, *, older_than_seconds: float = 86_400, limit: int = 500) -> int:
    """Delete up to ``limit`` chunks that nothing refers to; return how many.

    A manifest that starts to refer to one meanwhile fails by its foreign key or makes this delete fail: either is safe.
    """
    used = [
        select(table.position).where(table.tenant_id == Chunk.tenant_id, table.chunk_sha256 == Chunk.sha256).exists()
        for table in (CheckpointChunk, DatasetChunk)
    ]
    unused = (
        select(Chunk.tenant_id, Chunk.sha256)
        .where(Chunk.created_at < func.now() - func.make_interval(0, 0, 0, 0, 0, 0, older_than_seconds))
        .where(*(~one for one in used))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("unused")
    )
    gone = session.execute(
        delete(Chunk)
        .where(Chunk.tenant_id == unused.c.tenant_id, Chunk.sha256 == unused.c.sha256)
        .returning(Chunk.sha256)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


def _verified(data: bytes | None, ref: ChunkRef) -> bytes:
    if data is None:
        raise ChunkCorrupt(f"Chunk {ref.sha256.hex()} is missing.", sha256=ref.sha256)
    if len(data) != ref.size_bytes or hashlib.sha256(data).digest() != ref.sha256:
        raise ChunkCorrupt(f"Chunk {ref.sha256.hex()} is corrupt.", sha256=ref.sha256)
    return bytes(data)
