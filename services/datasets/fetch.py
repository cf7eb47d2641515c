"""Brings a tenant's own data set to a worker: from the chunk store into its cache, verified, once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from services.datasets import repository
from services.datasets.data_file import DataFile
from services.datasets.preparation import PREPARED
from services.db.engine import Database
from services.errors import ChunkCorrupt, TrainingFailure
from services.storage import chunks


def fetch(database: Database, *, tenant_id: str, dataset_id: str, cache_dir: Path, cache_bytes: int) -> DataFile:
    """Return the prepared file of a data set, fetching it if the cache has no sound copy.

    The cache keeps tenants apart, and drops what was not used for longest when it outgrows ``cache_bytes``.

    Raises:
        TrainingFailure: ``dataset_deleted``; ``dataset_corrupt`` when stored bytes fail their checksum.
    """
    with database.read_session() as session:
        dataset = repository.find(session, tenant_id=tenant_id, dataset_id=dataset_id)
    if dataset is None or dataset.sha256 is None:
        raise TrainingFailure(
            f"The data set {dataset_id} was deleted.", code="dataset_deleted", failure_class="user", retryable=False
        )
    folder = cache_dir / "datasets" / tenant_id
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.sha256}.safetensors"
    if not path.exists() or _sha256(path) != dataset.sha256:
        _download(database, tenant_id, dataset_id, path)
        if _sha256(path) != dataset.sha256:
            path.unlink()
            raise _corrupt(dataset_id)
    os.utime(path)
    _evict(cache_dir / "datasets", keep=path, cache_bytes=cache_bytes)
    return DataFile(path, dataset.sha256)


def _download(database: Database, tenant_id: str, dataset_id: str, path: Path) -> None:
    with database.read_session() as session:
        refs = repository.refs(session, dataset_id=dataset_id, file=PREPARED)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, suffix=".partial")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for run in chunks.runs(refs):
                with database.read_session() as session:
                    file.write(chunks.read_run(session, tenant_id=tenant_id, run=run))
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except ChunkCorrupt:
        raise _corrupt(dataset_id) from None
    finally:
        Path(partial).unlink(missing_ok=True)


def _evict(folder: Path, *, keep: Path, cache_bytes: int) -> None:
    """Delete the files that were not used for longest; a trainer that has one open reads on."""
    files = sorted(folder.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= cache_bytes:
            return
        if path != keep:
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def _corrupt(dataset_id: str) -> TrainingFailure:
    return TrainingFailure(
        f"The stored bytes of the data set {dataset_id} fail their checksum.",
        code="dataset_corrupt",
        failure_class="infrastructure",
        retryable=True,
        hint="Upload it again.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
