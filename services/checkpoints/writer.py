"""Storing a checkpoint that a trainer left in a folder: chunks first, the manifest last and fenced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.checkpoints import repository
from services.checkpoints.service import WEIGHTS
from services.db.clock import new_row_id
from services.db.engine import Database
from services.db.models import Checkpoint
from services.failpoints import hit
from services.jobs.claims import Claim, lock_claimed
from services.jobs.states import add_event, touch
from services.storage import layout
from services.storage.upload import upload_chunks


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the trainer says about a checkpoint it wrote."""

    directory: Path
    files: tuple[str, ...]
    step: int
    epoch: int
    final: bool
    metrics: Mapping[str, Any]
    best: bool = False


def store(database: Database, claim: Claim, snapshot: Snapshot, *, keep: int) -> str:
    """Store a checkpoint and return its id.

    Storing the same step of the same attempt again, as after a commit of unknown outcome, returns the first id.

    Raises:
        Fenced: another worker owns the job now; nothing is listed.
    """
    refs = {snapshot.directory / name: layout.chunk_refs(snapshot.directory / name) for name in snapshot.files}
    upload_chunks(database, tenant_id=claim.tenant_id, refs=refs)
    hit("after_chunks")
    weights = snapshot.directory / WEIGHTS
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    checkpoint = Checkpoint(
        tenant_id=claim.tenant_id,
        job_id=claim.job_id,
        step=snapshot.step,
        epoch=snapshot.epoch,
        attempt=claim.attempt,
        final=snapshot.final,
        metrics=dict(snapshot.metrics),
        sha256=digest,
        size_bytes=weights.stat().st_size,
    )
    with database.session() as session:
        job = lock_claimed(session, claim)
        stored = repository.find_at_step(session, job_id=claim.job_id, step=snapshot.step)
        if stored is not None and stored.attempt == claim.attempt:
            stored.final = stored.final or snapshot.final
            stored.metrics = dict(snapshot.metrics)
            return stored.id
        if stored is not None:  # an earlier attempt's, which this one did not resume from: it was found corrupt
            session.delete(stored)
            session.flush()
        checkpoint.id = new_row_id(session, "ckpt")
        repository.insert_manifest(session, checkpoint, {path.name: of_file for path, of_file in refs.items()})
        if snapshot.best:
            repository.mark_best(session, checkpoint)
            session.flush()
        repository.prune(session, job_id=claim.job_id, keep=keep)
        job.barren_attempts = 0
        touch(job)
        add_event(session, job, "job.checkpoint", {"checkpoint_id": checkpoint.id, "step": snapshot.step})
        session.flush()
        hit("in_manifest")
    hit("after_manifest")
    return checkpoint.id
