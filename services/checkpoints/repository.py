"""All SQL about checkpoints and the chunks they list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, Checkpoint, CheckpointChunk
from services.jobs import repository as jobs
from services.storage.chunks import ChunkRef

_EXPIRED = "checkpoint_days IS NOT NULL AND finished_at < now() - make_interval(days => checkpoint_days)"
_DELETE_EXPIRED = text(
    f"""
    DELETE FROM checkpoint WHERE id IN (
        SELECT c.id FROM job JOIN checkpoint c ON c.job_id = job.id WHERE {_EXPIRED} AND NOT c.pinned
        LIMIT :limit FOR UPDATE OF c SKIP LOCKED
    ) RETURNING id
    """  # noqa: S608 - constants
)
_FORGET_EMPTY = text(
    f"""
    UPDATE job SET checkpoint_days = NULL
    WHERE {_EXPIRED} AND NOT EXISTS (SELECT FROM checkpoint WHERE checkpoint.job_id = job.id)
    """  # noqa: S608 - constants
)


def find(session: Session, *, tenant_id: str, checkpoint_id: str) -> Checkpoint | None:
    """Return the tenant's checkpoint."""
    return session.scalar(select(Checkpoint).where(Checkpoint.id == checkpoint_id, Checkpoint.tenant_id == tenant_id))


def find_locked(session: Session, *, tenant_id: str, checkpoint_id: str) -> Checkpoint | None:
    """Return the tenant's checkpoint with its row locked until the transaction ends."""
    return session.scalar(
        select(Checkpoint)
        .where(Checkpoint.id == checkpoint_id, Checkpoint.tenant_id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def page(
    session: Session, *, tenant_id: str, job_id: str, limit: int, after: str | None, created_after: datetime | None
) -> list[Checkpoint]:
    """Return up to ``limit`` checkpoints of a job, newest first, older than ``after``, made after ``created_after``."""
    query = select(Checkpoint).where(Checkpoint.tenant_id == tenant_id, Checkpoint.job_id == job_id)
    if created_after is not None:
        query = query.where(Checkpoint.created_at > created_after)
    if after is not None:
        query = query.where(Checkpoint.id < after)
    return list(session.scalars(query.order_by(Checkpoint.id.desc()).limit(limit)))


def find_at_step(session: Session, *, job_id: str, step: int) -> Checkpoint | None:
    """Return the checkpoint that a job has of this step."""
    return session.scalar(select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.step == step))


def newest_first(session: Session, *, job_id: str) -> list[Checkpoint]:
    """Return a job's checkpoints from the newest step back, for a resume."""
    return list(session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc())))


def insert_manifest(session: Session, checkpoint: Checkpoint, files: Mapping[str, Sequence[ChunkRef]]) -> None:
    """Insert a checkpoint and the list of its chunks; the row's presence means that all of it is stored."""
    session.add(checkpoint)
    session.flush()
    rows = [
        {
            "checkpoint_id": checkpoint.id,
            "file": file,
            "position": position,
            "tenant_id": checkpoint.tenant_id,
            "chunk_sha256": ref.sha256,
            "offset_bytes": ref.offset_bytes,
            "size_bytes": ref.size_bytes,
        }
        for file, refs in files.items()
        for position, ref in enumerate(refs)
    ]
    session.execute(insert(CheckpointChunk), rows)


def refs(session: Session, *, checkpoint_id: str, file: str, start: int = 0, end: int | None = None) -> list[ChunkRef]:
    """Return the chunks of one file that overlap bytes ``start`` (inclusive) to ``end`` (exclusive)."""
    query = select(CheckpointChunk.chunk_sha256, CheckpointChunk.offset_bytes, CheckpointChunk.size_bytes).where(
        CheckpointChunk.checkpoint_id == checkpoint_id,
        CheckpointChunk.file == file,
        CheckpointChunk.offset_bytes + CheckpointChunk.size_bytes > start,
    )
    if end is not None:
        query = query.where(CheckpointChunk.offset_bytes < end)
    return [
        ChunkRef(bytes(sha), offset, size)
        for sha, offset, size in session.execute(query.order_by(CheckpointChunk.position))
    ]


def files(session: Session, *, checkpoint_id: str) -> list[str]:
    """Return the names of a checkpoint's files."""
    return list(
        session.scalars(select(CheckpointChunk.file).where(CheckpointChunk.checkpoint_id == checkpoint_id).distinct())
    )


def is_needed(session: Session, checkpoint: Checkpoint) -> bool:
    """Return whether the job has not ended and this is its newest checkpoint; its row stays locked meanwhile."""
    job = jobs.find_locked(session, tenant_id=checkpoint.tenant_id, job_id=checkpoint.job_id)
    if job is None or job.state in TERMINAL_STATES:
        return False
    newest = select(func.max(Checkpoint.step)).where(Checkpoint.job_id == checkpoint.job_id)
    return session.scalar(newest) == checkpoint.step


def mark_best(session: Session, checkpoint: Checkpoint) -> None:
    """Make this the job's one best checkpoint."""
    others = update(Checkpoint).where(Checkpoint.job_id == checkpoint.job_id, Checkpoint.id != checkpoint.id)
    session.execute(others.values(best=False).execution_options(synchronize_session=False))
    checkpoint.best = True


def delete_expired(session: Session, *, limit: int) -> int:
    """Delete up to ``limit`` checkpoints of jobs that have ended longer ago than theirs were to stay, but pinned ones.

    A job that has none left is looked at no more.
    """
    gone = session.execute(_DELETE_EXPIRED, {"limit": limit}).all()
    session.execute(_FORGET_EMPTY)
    return len(gone)


def prune(session: Session, *, job_id: str, keep: int) -> None:
    """Delete all but the ``keep`` newest checkpoints of a job, its best one and the pinned ones."""
    ranked = select(
        Checkpoint.id, func.row_number().over(order_by=(Checkpoint.step.desc(), Checkpoint.id.desc())).label("rank")
    ).where(Checkpoint.job_id == job_id)
    old = ranked.subquery()
    session.execute(
        delete(Checkpoint)
        .where(Checkpoint.id.in_(select(old.c.id).where(old.c.rank > keep)))
        .where(Checkpoint.best.is_(False), Checkpoint.pinned.is_(False))
        .execution_options(synchronize_session=False)
    )
