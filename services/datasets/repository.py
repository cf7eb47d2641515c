"""All SQL about data sets, their parts and the chunks they list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.dataset_models import Dataset, DatasetChunk, DatasetPart
from services.storage.chunks import ChunkRef

_USERS = text(
    "SELECT id FROM job WHERE tenant_id = :tenant AND finished_at IS NULL "
    "AND resolved->'data'->>'dataset' = :dataset ORDER BY id LIMIT 5"
)
_STORED = text("SELECT coalesce(sum(size_bytes), 0) FROM dataset WHERE tenant_id = :tenant")
_ARRIVING = text(
    "SELECT coalesce(sum(p.size_bytes), 0) FROM dataset_part p JOIN dataset d ON d.id = p.dataset_id "
    "WHERE d.tenant_id = :tenant"
)
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


def find(session: Session, *, tenant_id: str, dataset_id: str) -> Dataset | None:
    """Return the tenant's data set."""
    return session.scalar(select(Dataset).where(Dataset.id == dataset_id, Dataset.tenant_id == tenant_id))


def find_locked(session: Session, *, tenant_id: str, dataset_id: str, shared: bool = False) -> Dataset | None:
    """Return the tenant's data set with its row locked; ``shared`` keeps it from being deleted, no more."""
    return session.scalar(
        select(Dataset)
        .where(Dataset.id == dataset_id, Dataset.tenant_id == tenant_id)
        .with_for_update(read=shared)
        .execution_options(populate_existing=True)
    )


def with_remote(session: Session, *, tenant_id: str, url: str, version: str) -> list[Dataset]:
    """Return the tenant's data sets that were made of one version of a file elsewhere, or are being made of it."""
    query = select(Dataset).where(
        Dataset.tenant_id == tenant_id,
        func.jsonb_extract_path_text(Dataset.remote, "url") == url,
        func.jsonb_extract_path_text(Dataset.remote, "version") == version,
        Dataset.state.in_(("fetching", "preparing", "ready")),
    )
    return list(session.scalars(query.order_by(Dataset.id)))


def with_source(
    session: Session, *, tenant_id: str, source_sha256: str, format_: str, states: Sequence[str]
) -> list[Dataset]:
    """Return the data sets that are made, or are to be made, of these bytes."""
    return list(
        session.scalars(
            select(Dataset)
            .where(
                Dataset.tenant_id == tenant_id,
                Dataset.source_sha256 == source_sha256,
                Dataset.format == format_,
                Dataset.state.in_(states),
            )
            .order_by(Dataset.id.desc())
            .limit(20)
        )
    )


def page(
    session: Session,
    *,
    tenant_id: str,
    limit: int,
    after: str | None,
    states: Sequence[str],
    created_after: datetime | None,
) -> list[Dataset]:
    """Return up to ``limit`` data sets, newest first, older than ``after``."""
    query = select(Dataset).where(Dataset.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Dataset.id < after)
    if states:
        query = query.where(Dataset.state.in_(states))
    if created_after is not None:
        query = query.where(Dataset.created_at > created_after)
    return list(session.scalars(query.order_by(Dataset.id.desc()).limit(limit)))


def parts(session: Session, *, dataset_id: str) -> list[DatasetPart]:
    """Return the parts that have arrived, in order."""
    query = select(DatasetPart).where(DatasetPart.dataset_id == dataset_id)
    return list(session.scalars(query.order_by(DatasetPart.number)))


def put_part(session: Session, dataset: Dataset, part: DatasetPart, refs: Sequence[ChunkRef]) -> bool:
    """List a part and its chunks, in place of what had its number; return whether the number is new."""
    file = part_file(part.number)
    drop_file(session, dataset_id=dataset.id, file=file)
    key = (DatasetPart.dataset_id == dataset.id, DatasetPart.number == part.number)
    replaced = session.execute(delete(DatasetPart).where(*key).returning(DatasetPart.number)).first()
    session.add(part)
    insert_file(session, dataset, file=file, refs=refs)
    return replaced is None


def drop_parts(session: Session, *, dataset_id: str) -> None:
    """Forget all parts and their chunks."""
    session.execute(delete(DatasetPart).where(DatasetPart.dataset_id == dataset_id))
    session.execute(
        delete(DatasetChunk).where(DatasetChunk.dataset_id == dataset_id, DatasetChunk.file.startswith("part/"))
    )


def part_file(number: int) -> str:
    """Return the name under which a part's chunks are listed."""
    return f"part/{number:05d}"


def insert_file(session: Session, dataset: Dataset, *, file: str, refs: Sequence[ChunkRef]) -> None:
    """List the chunks of a file."""
    session.flush()
    rows = [
        {
            "dataset_id": dataset.id,
            "file": file,
            "position": position,
            "tenant_id": dataset.tenant_id,
            "chunk_sha256": ref.sha256,
            "offset_bytes": ref.offset_bytes,
            "size_bytes": ref.size_bytes,
        }
        for position, ref in enumerate(refs)
    ]
    session.execute(insert(DatasetChunk), rows)


def drop_file(session: Session, *, dataset_id: str, file: str) -> None:
    """Forget the chunks of a file."""
    session.execute(delete(DatasetChunk).where(DatasetChunk.dataset_id == dataset_id, DatasetChunk.file == file))


def refs(session: Session, *, dataset_id: str, file: str, start: int = 0, end: int | None = None) -> list[ChunkRef]:
    """Return the chunks of one file that overlap bytes ``start`` (inclusive) to ``end`` (exclusive)."""
    query = select(DatasetChunk.chunk_sha256, DatasetChunk.offset_bytes, DatasetChunk.size_bytes).where(
        DatasetChunk.dataset_id == dataset_id,
        DatasetChunk.file == file,
        DatasetChunk.offset_bytes + DatasetChunk.size_bytes > start,
    )
    if end is not None:
        query = query.where(DatasetChunk.offset_bytes < end)
    rows = session.execute(query.order_by(DatasetChunk.position))
    return [ChunkRef(bytes(sha256), offset, size) for sha256, offset, size in rows]


def unfinished_users(session: Session, *, tenant_id: str, dataset_id: str) -> list[str]:
    """Return some of the jobs that have not ended and train on a data set."""
    return list(session.scalars(_USERS, {"tenant": tenant_id, "dataset": dataset_id}))


def stored_bytes(session: Session, *, tenant_id: str) -> int:
    """Return how much a tenant's data sets take, with what is being uploaded."""
    return sum(int(session.scalar(query, {"tenant": tenant_id}) or 0) for query in (_STORED, _ARRIVING))


def try_lock(session: Session, *, dataset_id: str) -> bool:
    """Take the right to prepare a data set until the transaction ends; False if another has it."""
    return bool(session.scalar(_TRY_LOCK, {"name": f"dataset/{dataset_id}"}))


def delete_abandoned(session: Session, *, older_than_seconds: float) -> int:
    """Delete uploads that nobody went on with; return how many."""
    old = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, older_than_seconds)
    gone = session.execute(
        delete(Dataset)
        .where(Dataset.state.in_(("uploading", "preparing")), Dataset.updated_at < old)
        .returning(Dataset.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
