"""What is kept of a training run: stored whole or not at all, listed, streamed, restored."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.orm import Session

from services.checkpoints import repository
from services.db.engine import Database, objects_of
from services.db.models import Checkpoint
from services.errors import ChunkCorrupt, NotFound
from services.identifiers import check_id
from services.jobs.queries import get_job, get_version
from services.pages import Page, id_cursor, timestamp
from services.storage import chunks, layout
from services.storage.chunks import ChunkRef

WEIGHTS, STATE, META = "weights.safetensors", "state.safetensors", "state.json"
Part = Literal["weights", "state", "state-json"]
_FILES: dict[Part, tuple[str, str, str]] = {
    "weights": (WEIGHTS, ".safetensors", "application/octet-stream"),
    "state": (STATE, ".state.safetensors", "application/octet-stream"),
    "state-json": (META, ".state.json", "application/json"),
}


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a checkpoint."""

    name: str
    suffix: str
    media_type: str
    sha256: str
    size_bytes: int


def list_checkpoints(
    session: Session,
    *,
    tenant_id: str,
    job_id: str,
    limit: int = 20,
    after: str | None = None,
    created_after: datetime | None = None,
) -> Page:
    """Return a page of a job's checkpoints, newest first.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``, ``invalid_cursor``.
    """
    get_version(session, tenant_id=tenant_id, job_id=job_id)  # there is such a job
    rows = repository.page(
        session,
        tenant_id=tenant_id,
        job_id=job_id,
        limit=limit + 1,
        after=id_cursor(after, "ckpt"),
        created_after=created_after,
    )
    return Page.of([view(row) for row in rows], limit=limit)


def get_checkpoint(session: Session, *, tenant_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Return one checkpoint's view.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: ``invalid_id``.
    """
    return view(get_row(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id))


def tensor_shapes(session: Session, *, tenant_id: str, checkpoint_id: str) -> tuple[str, dict[str, list[int]]]:
    """Return the sha256 of the definition that was trained, and the shape of every tensor of the weights.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: ``invalid_id``.
        ChunkCorrupt: the stored header is damaged.
    """
    checkpoint = get_row(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    trained = get_job(session, tenant_id=tenant_id, job_id=checkpoint.job_id)["model"]["sha256"]
    head = b""
    for ref in repository.refs(session, checkpoint_id=checkpoint_id, file=WEIGHTS):
        head += chunks.read(session, tenant_id=tenant_id, ref=ref)
        header = layout.parse_header(head)
        if header is not None:
            return trained, {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    raise ChunkCorrupt("The checkpoint's header is damaged.")


def get_file(session: Session, *, tenant_id: str, checkpoint_id: str, part: Part = "weights") -> StoredFile:
    """Return what is known of one file of a checkpoint.

    Raises:
        NotFound: the tenant has no such checkpoint, or it has no such file.
        InvalidRequest: ``invalid_id``.
        ChunkCorrupt: stored bytes are missing or changed.
        StoreUnavailable: they lie in an object store that does not answer: better said now than by half a file.
    """
    checkpoint = get_row(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    if (store := objects_of(session)) is not None:
        store.check()
    name, suffix, media_type = _FILES[part]
    if name == WEIGHTS:
        return StoredFile(name, suffix, media_type, checkpoint.sha256, checkpoint.size_bytes)
    found = repository.refs(session, checkpoint_id=checkpoint_id, file=name)
    if not found:
        raise NotFound()
    size_bytes = sum(ref.size_bytes for ref in found)
    if name == META:
        digest = hashlib.sha256(_joined(session, tenant_id, found)).hexdigest()
    else:
        digest = read_meta(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)["sha256"][name]
    return StoredFile(name, suffix, media_type, digest, size_bytes)


def read_preprocessing(session: Session, *, tenant_id: str, checkpoint_id: str) -> dict[str, Any] | None:
    """Return what was fitted on the training rows to prepare the model's inputs; None if nothing was.

    Raises:
        ChunkCorrupt: stored bytes are missing or changed.
    """
    fitted: dict[str, Any] | None = read_meta(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id).get(
        "preprocessing"
    )
    return fitted


def read_meta(session: Session, *, tenant_id: str, checkpoint_id: str) -> dict[str, Any]:
    """Return what the trainer wrote beside the tensors; a checkpoint without it has nothing to say.

    Raises:
        ChunkCorrupt: stored bytes are missing or changed.
    """
    content = _joined(session, tenant_id, repository.refs(session, checkpoint_id=checkpoint_id, file=META))
    meta: dict[str, Any] = json.loads(content or b"{}")
    return meta


def iter_content(
    database: Database, *, tenant_id: str, checkpoint_id: str, start: int, end: int, file: str = WEIGHTS
) -> Iterator[bytes]:
    """Yield a file's bytes from ``start`` (inclusive) to ``end`` (exclusive), each chunk verified before it goes.

    Raises:
        ChunkCorrupt: stored bytes are missing or changed; what was yielded so far is good, the rest cannot be had.
    """
    reads = content_reads(database, tenant_id=tenant_id, checkpoint_id=checkpoint_id, start=start, end=end, file=file)
    yield from (read() for read in reads)


def content_reads(
    database: Database, *, tenant_id: str, checkpoint_id: str, start: int, end: int, file: str = WEIGHTS
) -> list[Callable[[], bytes]]:
    """Return what reads the pieces of `iter_content`, in order; several may be called at once, each in a thread.

    About a MiB is read at a time, in its own short read, so a slow client holds neither a transaction nor a connection.
    Each raises ``ChunkCorrupt`` as `iter_content`.
    """
    with database.read_session() as session:
        wanted = repository.refs(session, checkpoint_id=checkpoint_id, file=file, start=start, end=end)

    def read(run: list[ChunkRef]) -> bytes:
        with database.read_session() as session:
            data = chunks.read_run(session, tenant_id=tenant_id, run=run)
        return data[max(0, start - run[0].offset_bytes) : end - run[0].offset_bytes]

    return [partial(read, run) for run in chunks.runs(wanted)]


def fetch_weights(database: Database, *, tenant_id: str, checkpoint_id: str, path: Path) -> None:
    """Write a checkpoint's weights to ``path``.

    Raises:
        NotFound: the tenant has no such checkpoint (any more).
        ChunkCorrupt: stored bytes are missing or changed.
    """
    with database.read_session() as session:
        size = get_row(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id).size_bytes
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in iter_content(database, tenant_id=tenant_id, checkpoint_id=checkpoint_id, start=0, end=size):
            file.write(piece)
    if path.stat().st_size != size:
        raise NotFound()  # deleted while it was read


def restore(database: Database, *, job_id: str, directory: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Write the files of the newest sound checkpoint to ``directory``.

    Returns:
        The checkpoint's view (None if there is none) and the ids of newer ones that were found corrupt.
    """
    corrupt: list[str] = []
    with database.read_session() as session:
        candidates = repository.newest_first(session, job_id=job_id)
    for checkpoint in candidates:
        try:
            _write_files(database, checkpoint, directory)
        except ChunkCorrupt as damage:
            corrupt.append(checkpoint.id)
            _empty_damaged(database, checkpoint, damage)
            shutil.rmtree(directory, ignore_errors=True)
            continue
        return view(checkpoint), corrupt
    return None, corrupt


def view(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the public form of a checkpoint."""
    return {
        "id": checkpoint.id,
        "object": "checkpoint",
        "job_id": checkpoint.job_id,
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "attempt": checkpoint.attempt,
        "final": checkpoint.final,
        "best": checkpoint.best,
        "pinned": checkpoint.pinned,
        "metrics": checkpoint.metrics,
        "format": "safetensors",
        "size_bytes": checkpoint.size_bytes,
        "sha256": checkpoint.sha256,
        "created_at": timestamp(checkpoint.created_at),
        "links": {"self": f"/v1/checkpoints/{checkpoint.id}", "content": f"/v1/checkpoints/{checkpoint.id}/content"},
    }


def _joined(session: Session, tenant_id: str, refs: Sequence[chunks.ChunkRef]) -> bytes:
    return b"".join(chunks.read(session, tenant_id=tenant_id, ref=ref) for ref in refs)


def _write_files(database: Database, checkpoint: Checkpoint, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with database.read_session() as session:
        for name in repository.files(session, checkpoint_id=checkpoint.id):
            with (directory / name).open("wb") as file:
                for run in chunks.runs(repository.refs(session, checkpoint_id=checkpoint.id, file=name)):
                    file.write(chunks.read_run(session, tenant_id=checkpoint.tenant_id, run=run))


def _empty_damaged(database: Database, checkpoint: Checkpoint, damage: ChunkCorrupt) -> None:
    if damage.sha256 is not None:
        with database.session() as session:
            chunks.empty_damaged(session, tenant_id=checkpoint.tenant_id, sha256=damage.sha256)


def get_row(session: Session, *, tenant_id: str, checkpoint_id: str) -> Checkpoint:
    """Return a checkpoint's row.

    Raises:
        NotFound: the tenant has no such checkpoint.
        InvalidRequest: ``invalid_id``.
    """
    found = repository.find(session, tenant_id=tenant_id, checkpoint_id=check_id(checkpoint_id, "ckpt"))
    if found is None:
        raise NotFound()
    return found


def get_locked(session: Session, *, tenant_id: str, checkpoint_id: str) -> Checkpoint:
    """Return a checkpoint's row, locked until the transaction ends.

    Raises:
        NotFound, InvalidRequest: as `get_row`.
    """
    found = repository.find_locked(session, tenant_id=tenant_id, checkpoint_id=check_id(checkpoint_id, "ckpt"))
    if found is None:
        raise NotFound()
    return found
