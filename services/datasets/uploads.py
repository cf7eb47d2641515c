"""Parts of an upload: streamed into the chunk store, listed when they are whole, put again as often as need be."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets import repository
from services.datasets.limits import MAX_PART_BYTES, MAX_PARTS
from services.datasets.service import check_quota, get_own
from services.datasets.views import part_view
from services.db.dataset_models import Dataset, DatasetPart
from services.db.engine import Database
from services.errors import BodyTooLarge, Conflict, InvalidRequest, NotFound, Problem
from services.identifiers import check_id
from services.storage import chunks
from services.storage.chunks import MAX_CHUNK_BYTES, ChunkRef

_OPEN = ("uploading",)


class PartWriter:
    """Takes the bytes of one part as they come and stores them chunk by chunk; holds one chunk, whatever the size."""

    def __init__(self, database: Database, *, tenant_id: str, max_bytes: int = MAX_PART_BYTES) -> None:
        self.size_bytes = 0
        self.refs: list[ChunkRef] = []
        self._database = database
        self._tenant_id = tenant_id
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._buffer = bytearray()

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._digest.hexdigest()

    def take(self, data: bytes) -> bool:
        """Keep some bytes; True when there is a whole chunk to `store`.

        Raises:
            BodyTooLarge: more has come than a part may have.
        """
        self.size_bytes += len(data)
        if self.size_bytes > self._max_bytes:
            raise BodyTooLarge(f"This body may have at most {self._max_bytes} bytes.")
        self._buffer += data
        return len(self._buffer) >= MAX_CHUNK_BYTES

    def store(self, *, last: bool = False) -> None:
        """Store the whole chunks that are here; with ``last`` also the rest."""
        while len(self._buffer) >= MAX_CHUNK_BYTES or (last and self._buffer):
            data = bytes(self._buffer[:MAX_CHUNK_BYTES])
            del self._buffer[:MAX_CHUNK_BYTES]
            self._put(data)

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        sha256 = hashlib.sha256(data).digest()
        offset = self.refs[-1].offset_bytes + self.refs[-1].size_bytes if self.refs else 0
        with self._database.session() as session:
            if chunks.missing(session, tenant_id=self._tenant_id, hashes=[sha256]):
                chunks.put(session, tenant_id=self._tenant_id, chunks=[data])
        self.refs.append(ChunkRef(sha256, offset, len(data)))


def check_open(session: Session, *, tenant_id: str, dataset_id: str, number: int) -> None:
    """Refuse a part before its bytes are read.

    Raises:
        NotFound: the tenant has no such data set.
        Conflict: its upload is complete.
        InvalidRequest: ``invalid_id``, ``out_of_range``.
    """
    if not 1 <= number <= MAX_PARTS:
        raise InvalidRequest([Problem("out_of_range", f"{number} is out of range: parts are 1 to {MAX_PARTS}.")])
    _check_state(get_own(session, tenant_id=tenant_id, dataset_id=dataset_id))


def put_part(
    session: Session, *, tenant_id: str, dataset_id: str, number: int, written: PartWriter, settings: Settings
) -> tuple[dict[str, Any], bool]:
    """List a part whose bytes are stored; return its view and whether its number is new.

    Raises:
        NotFound, Conflict: as `check_open`, for meanwhile the upload may have been completed.
        BodyTooLarge: all parts together have more bytes than a data set may.
        QuotaExceeded: the tenant's data sets take too much.
    """
    dataset = repository.find_locked(session, tenant_id=tenant_id, dataset_id=check_id(dataset_id, "ds"))
    if dataset is None:
        raise NotFound()
    _check_state(dataset)
    others = [part.size_bytes for part in repository.parts(session, dataset_id=dataset.id) if part.number != number]
    if sum(others) + written.size_bytes > settings.max_dataset_bytes:
        raise BodyTooLarge(f"A data set may have at most {settings.max_dataset_bytes} bytes.")
    check_quota(session, tenant_id=tenant_id, more_bytes=written.size_bytes, settings=settings)
    part = DatasetPart(dataset_id=dataset.id, number=number, sha256=written.sha256, size_bytes=written.size_bytes)
    created = repository.put_part(session, dataset, part, written.refs)
    dataset.updated_at = func.now()
    return part_view(part), created


def list_parts(session: Session, *, tenant_id: str, dataset_id: str) -> list[dict[str, Any]]:
    """Return the parts that have arrived: what an interrupted upload need not send again.

    Raises:
        NotFound, InvalidRequest: as `get_own`.
    """
    get_own(session, tenant_id=tenant_id, dataset_id=dataset_id)
    return [part_view(part) for part in repository.parts(session, dataset_id=dataset_id)]


def delete_abandoned(session: Session, *, older_than_seconds: float) -> int:
    """Delete uploads that nobody went on with; return how many."""
    return repository.delete_abandoned(session, older_than_seconds=older_than_seconds)


def _check_state(dataset: Dataset) -> None:
    if dataset.state not in _OPEN:
        raise Conflict(f"The upload has ended: the data set is {dataset.state}.", hint="Begin a new one.")
