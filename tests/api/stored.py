"""A stored checkpoint of given bytes, with no training before it."""

from __future__ import annotations

import hashlib

from services.checkpoints import repository
from services.checkpoints.service import WEIGHTS
from services.db.engine import Database
from services.db.models import Checkpoint
from services.identifiers import new_id
from services.storage import chunks
from tests.factories import add_job


def add_checkpoint(database: Database, tenant_id: str, content: bytes) -> str:
    """Store up to a MiB as the weights of a checkpoint of a new job, and return the checkpoint's id."""
    digest = hashlib.sha256(content)
    row = Checkpoint(
        id=new_id("ckpt"), tenant_id=tenant_id, job_id=add_job(database, tenant_id), step=1, epoch=1, attempt=1
    )
    row.sha256, row.size_bytes = digest.hexdigest(), len(content)
    with database.session() as session:
        chunks.put(session, tenant_id=tenant_id, chunks=[content])
    with database.session() as session:
        repository.insert_manifest(session, row, {WEIGHTS: [chunks.ChunkRef(digest.digest(), 0, len(content))]})
    return row.id
