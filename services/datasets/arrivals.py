"""New data: an upload that begins, a small file in one go, or tiny data inside the request."""

from __future__ import annotations

import json

from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets import service, uploads
from services.datasets.preparation import complete
from services.datasets.reader import Reader
from services.datasets.schema import DatasetRequest
from services.datasets.service import Begun
from services.datasets.uploads import PartWriter
from services.datasets.views import view
from services.db.engine import Database
from services.errors import InvalidRequest, UnsupportedFormat
from services.idempotency import service as idempotency


def arrive(
    database: Database,
    *,
    tenant_id: str,
    request: DatasetRequest,
    file: PartWriter | None,
    reader: Reader,
    settings: Settings,
    idempotency_key: str | None = None,
) -> Begun:
    """Begin an upload; with a ``file``, or with data in the request, also complete it.

    What begins with a key begins once. Files and data need none: the same bytes are the same data set.

    Raises:
        InvalidRequest, UnsupportedFormat: what is wrong with the file; nothing is kept of it.
        BodyTooLarge, QuotaExceeded: see `service.begin`.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
        Unavailable: it could not be read right now.
    """
    written = file or _inline(database, tenant_id, request)
    if written is None:
        with database.session() as session:
            return _begin_once(session, tenant_id, request, settings, idempotency_key)
    with database.session() as session:
        known = service.find_same(session, tenant_id=tenant_id, request=request, source_sha256=written.sha256)
        if known is not None:
            return Begun(view(known), created=False)
        begun = service.begin(session, tenant_id=tenant_id, request=request, settings=settings).dataset
        uploads.put_part(
            session, tenant_id=tenant_id, dataset_id=begun["id"], number=1, written=written, settings=settings
        )
    return Begun(_completed(database, tenant_id, begun["id"], reader, settings), created=True)


def _begin_once(
    session: Session, tenant_id: str, request: DatasetRequest, settings: Settings, key: str | None
) -> Begun:
    if key is None:
        return service.begin(session, tenant_id=tenant_id, request=request, settings=settings)
    body = request.model_dump()
    answer = idempotency.find_replay(session, tenant_id=tenant_id, key=key, body=body)
    if answer is not None:
        return Begun(answer, created=True, replayed=True)
    begun = service.begin(session, tenant_id=tenant_id, request=request, settings=settings)
    idempotency.remember(session, tenant_id=tenant_id, key=key, body=body, response=begun.dataset)
    return begun


def _completed(
    database: Database, tenant_id: str, dataset_id: str, reader: Reader, settings: Settings
) -> dict[str, object]:
    try:
        return complete(database, tenant_id=tenant_id, dataset_id=dataset_id, reader=reader, settings=settings)
    except (InvalidRequest, UnsupportedFormat):
        with database.session() as session:
            service.delete_dataset(session, tenant_id=tenant_id, dataset_id=dataset_id)
        raise


def _inline(database: Database, tenant_id: str, request: DatasetRequest) -> PartWriter | None:
    """Store the data that a request holds as a file of its own; None when it holds none."""
    if request.format is not None:
        return None
    content = {"columns": request.columns} if request.columns is not None else {"rows": request.rows}
    writer = PartWriter(database, tenant_id=tenant_id)
    writer.take(json.dumps(content, separators=(",", ":")).encode())
    writer.store(last=True)
    return writer
