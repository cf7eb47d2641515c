"""The chunk store: bytes of up to 1 MiB, named by tenant and sha256, in PostgreSQL or in an object store.

Every chunk has a row, and what is not in a row is not stored. Where the session's database has an object store, the
bytes of all but small chunks lie there: the row has the word that their object's name ends with.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.orm import Session

from services.db.after_commit import after_commit
from services.db.dataset_models import DatasetChunk
from services.db.engine import BINARY, IDLE_TRANSACTION_SECONDS, objects_of
from services.db.models import CheckpointChunk, Chunk
from services.errors import ChunkCorrupt, StoreUnavailable
from services.storage.objects import ObjectName, ObjectStore, new_name

MAX_CHUNK_BYTES = 1 << 20
SMALLEST_OBJECT_BYTES = 64 << 10
"""Smaller chunks stay in their rows: a request to an object store takes longer than their bytes."""

log = logging.getLogger(__name__)


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
            "AND (object IS NOT NULL OR octet_length(data) = size_bytes) RETURNING sha256"
        ),
        {"tenant": tenant_id, "hashes": list(wanted)},
    )
    return wanted - {bytes(sha256) for sha256 in stored}


def put(session: Session, *, tenant_id: str, chunks: Sequence[bytes]) -> None:
    """Store chunks; one that is already there is left as it is, unless it was found damaged.

    Raises:
        StoreUnavailable: the object store does not take them; the transaction must not commit.
    """
    store = objects_of(session)
    here, apart = list[dict[str, Any]](), dict[ObjectName, bytes]()
    for sha256, data in sorted({hashlib.sha256(data).digest(): data for data in chunks}.items()):
        if store is None or len(data) < SMALLEST_OBJECT_BYTES:
            here.append({"tenant_id": tenant_id, "sha256": sha256, "size_bytes": len(data), "data": data})
        else:
            apart[new_name(tenant_id, sha256)] = data
    if here:
        session.execute(_inserted(), here)
    if store is not None and apart:
        _put_apart(session, store, apart)


def _inserted() -> Insert:
    """Insert rows, in one order so that no two wait for each other, also over those that `empty_damaged` emptied."""
    new = insert(Chunk)
    emptied = func.octet_length(Chunk.data) != new.excluded.size_bytes
    columns = {"data": new.excluded.data, "object": new.excluded.object}
    return new.on_conflict_do_update(index_elements=[Chunk.tenant_id, Chunk.sha256], set_=columns, where=emptied)


def _put_apart(session: Session, store: ObjectStore, chunks: Mapping[ObjectName, bytes]) -> None:
    """Insert the rows and put the objects of those that were new: without the caller's commit they are nobody's.

    Whoever stores the same at once waits here for that commit, and finds the row. A transaction that is silent for
    `IDLE_TRANSACTION_SECONDS` is ended, so none can commit after a day, when the collector has taken its objects.
    """
    rows = [
        {"tenant_id": name.tenant_id, "sha256": name.sha256, "size_bytes": len(data), "object": name.word}
        for name, data in chunks.items()
    ]
    session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS:.0f}s'"))
    stored = session.execute(_inserted().values(rows).returning(Chunk.object)).scalars()
    words = set(stored)
    store.put({name: data for name, data in chunks.items() if name.word in words})


def read(session: Session, *, tenant_id: str, ref: ChunkRef) -> bytes:
    """Return one chunk's bytes, verified.

    Raises:
        ChunkCorrupt: the chunk is missing or its bytes do not match their name.
        StoreUnavailable: the object store does not answer.
    """
    return read_run(session, tenant_id=tenant_id, run=[ref])


def empty_damaged(session: Session, *, tenant_id: str, sha256: bytes) -> None:
    """Empty a chunk whose bytes are not what its name says, so that whoever stores them again really does.

    A resumed job makes the very bytes again that it lost; found by their name, they would be taken for stored.

    Raises:
        StoreUnavailable: the object store does not answer.
    """
    word = session.scalar(select(Chunk.object).where(Chunk.tenant_id == tenant_id, Chunk.sha256 == sha256))
    if word is not None:
        name = ObjectName(tenant_id, sha256, word)
        if hashlib.sha256(_store(session).read([name]).get(name, b"")).digest() == sha256:
            return
    damaged = "object = :word" if word is not None else "sha256(data) <> :name"
    session.execute(
        text(f"UPDATE chunk SET data = '', object = NULL WHERE tenant_id = :tenant AND sha256 = :name AND {damaged}"),  # noqa: S608
        {"tenant": tenant_id, "name": sha256} | ({"word": word} if word is not None else {}),
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
        ChunkCorrupt, StoreUnavailable: as `read`.
    """
    wanted = {ref.sha256 for ref in run}
    query = select(Chunk.sha256, Chunk.data, Chunk.object).where(Chunk.tenant_id == tenant_id, Chunk.sha256.in_(wanted))
    found: dict[bytes, bytes | None] = {}
    apart: list[ObjectName] = []
    for sha256, data, word in session.execute(query, execution_options=BINARY):
        if word is None:
            found[bytes(sha256)] = data
        else:
            apart.append(ObjectName(tenant_id, bytes(sha256), word))
    if apart:
        found |= {name.sha256: data for name, data in _store(session).read(apart).items()}
    return b"".join(_verified(found.get(ref.sha256), ref) for ref in run)


def _store(session: Session) -> ObjectStore:
    store = objects_of(session)
    if store is None:
        raise StoreUnavailable("The bytes lie in an object store that this process was not told of.")
    return store


def collect_garbage(session: Session, *, older_than_seconds: float = 86_400, limit: int = 500) -> int:
    """Delete up to ``limit`` chunks that nothing refers to; return how many. Objects go after the commit.

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
        .returning(Chunk.tenant_id, Chunk.sha256, Chunk.object)
        .execution_options(synchronize_session=False)
    ).all()
    names = [ObjectName(tenant, bytes(sha256), word) for tenant, sha256, word in gone if word is not None]
    store = objects_of(session)
    if store is not None and names:
        after_commit(session, partial(_delete_objects, store, names))
    return len(gone)


def _delete_objects(store: ObjectStore, names: list[ObjectName]) -> None:
    """Delete what no row refers to any more; what stays behind is found by `orphans.collect_orphans`."""
    try:
        store.delete(names)
    except StoreUnavailable as error:
        log.warning("%d objects are left for later: %s", len(names), error.detail)


def _verified(data: bytes | None, ref: ChunkRef) -> bytes:
    if data is None:
        raise ChunkCorrupt(f"Chunk {ref.sha256.hex()} is missing.", sha256=ref.sha256)
    if len(data) != ref.size_bytes or hashlib.sha256(data).digest() != ref.sha256:
        raise ChunkCorrupt(f"Chunk {ref.sha256.hex()} is corrupt.", sha256=ref.sha256)
    return bytes(data)
