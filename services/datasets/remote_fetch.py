"""Fetches data sets that are to come from a URL: claimed with a lease, part after part, tried again, one at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets import repository
from services.datasets.preparation import complete, fail
from services.datasets.reader import Reader
from services.datasets.remote import FetchFailed, Remote
from services.datasets.service import check_quota
from services.datasets.sources import opened_source
from services.datasets.uploads import PartWriter
from services.db.dataset_models import Dataset, DatasetPart
from services.db.engine import Database
from services.errors import (
    BodyTooLarge,
    Conflict,
    Fenced,
    InvalidRequest,
    NotFound,
    Problem,
    QuotaExceeded,
    StoreUnavailable,
    Unavailable,
    UnsupportedFormat,
)

PART_BYTES = 8 << 20
PART_SECONDS = 60.0
"""What has come in so long is a part, unless it is less than `SLOWEST_BYTES`."""
SLOWEST_BYTES = 1 << 20
LEASE_SECONDS = 120.0
MAX_TRIES = 5
"""In a row without a new part."""
_FIRST_PAUSE_SECONDS = 5.0
_STORE_PAUSE_SECONDS = 15.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One turn at a data set, and what it works with: whoever has the newest epoch has the turn."""

    database: Database
    settings: Settings
    dataset_id: str
    tenant_id: str
    epoch: int
    remote: dict[str, Any]


def fetch_next(database: Database, settings: Settings, reader: Reader) -> bool:
    """Go on with the data set that has waited longest; False if none is due."""
    with database.session() as session:
        row = _claim(session)
    if row is None:
        return False
    fetch = Fetch(database, settings, row.id, row.tenant_id, row.fetch_epoch, dict(row.remote))
    try:
        _run(fetch, reader)
    except (Fenced, NotFound):
        log.info("fetch abandoned", extra={"dataset_id": fetch.dataset_id})
    return True


def _run(fetch: Fetch, reader: Reader) -> None:
    try:
        if not fetch.remote["complete"]:
            _download(fetch)
        _renew(fetch, LEASE_SECONDS + fetch.settings.dataset_timeout_seconds)
        complete(
            fetch.database,
            tenant_id=fetch.tenant_id,
            dataset_id=fetch.dataset_id,
            reader=reader,
            settings=fetch.settings,
            before="fetching",
        )
    except (BodyTooLarge, QuotaExceeded) as error:
        _end(fetch, Problem(error.code, error.detail, hint=error.hint))
    except FetchFailed as error:
        _again_or_end(fetch, error)
    except StoreUnavailable:
        _renew(fetch, _STORE_PAUSE_SECONDS)  # ours: no reason to give up
    except Unavailable as error:
        _again_or_end(fetch, FetchFailed(error.detail, passing=True))
    except InvalidRequest as error:
        _end(fetch, *error.problems)
    except (UnsupportedFormat, Conflict):
        return  # `complete` has written it down; or another one is completing it
    except (Fenced, NotFound, DBAPIError):
        raise
    except Exception:
        log.exception("fetch broke", extra={"dataset_id": fetch.dataset_id})
        _again_or_end(fetch, FetchFailed("The service could not take the file.", passing=True))


def _claim(session: Session) -> Row[Any] | None:
    """Take the first one that is due, by the database's clock; until the lease ends nobody else does."""
    due = (
        select(Dataset.id)
        .where(Dataset.state.in_(("fetching", "preparing")), Dataset.fetch_at < func.now())
        .order_by(Dataset.fetch_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return session.execute(
        update(Dataset)
        .where(Dataset.id == due.scalar_subquery())
        .values(fetch_at=_in(LEASE_SECONDS), fetch_epoch=Dataset.fetch_epoch + 1)
        .returning(Dataset.id, Dataset.tenant_id, Dataset.fetch_epoch, Dataset.remote)
        .execution_options(synchronize_session=False)
    ).first()


def _download(fetch: Fetch) -> None:
    """Read on from where the parts end; from the start when the file is another one by now."""
    with fetch.database.read_session() as session:
        parts = repository.parts(session, dataset_id=fetch.dataset_id)
    have = sum(part.size_bytes for part in parts)
    if have and have == fetch.remote["size_bytes"]:  # whoever had the turn before died after the last part
        return
    with opened_source(fetch.remote, fetch.settings, tenant_id=fetch.tenant_id, begin=have) as remote:
        limit = fetch.settings.max_dataset_bytes
        if remote.size_bytes is not None and remote.size_bytes > limit:
            raise BodyTooLarge(f"A data set may have at most {limit} bytes, and this one has {remote.size_bytes}.")
        if remote.begins != have or not have:
            _start_over(fetch, remote)
            have, parts = 0, []
        have = _take(fetch, remote, have, len(parts))
    if remote.size_bytes is not None and have != remote.size_bytes:
        raise FetchFailed(f"{have} bytes came of {remote.size_bytes}.", passing=True)
    with fetch.database.session() as session:
        _note(session, fetch, complete=True)


def _take(fetch: Fetch, remote: Remote, have: int, number: int) -> int:
    """Store what comes, part by part, and return how many bytes there are in the end."""
    for writer in _parts(fetch, remote, have):
        number += 1
        have += _put(fetch, number, writer)
    return have


def _parts(fetch: Fetch, remote: Remote, have: int) -> Iterator[PartWriter]:
    """Yield parts as they fill; one that is cut off by a broken connection is yielded before that is told."""
    writer, began = PartWriter(fetch.database, tenant_id=fetch.tenant_id), time.monotonic()
    while True:
        try:
            piece = next(remote.pieces, None)
        except FetchFailed:
            if writer.size_bytes:
                yield writer
            raise
        if piece is None:
            break
        if have + writer.size_bytes + len(piece) > fetch.settings.max_dataset_bytes:
            raise BodyTooLarge(f"A data set may have at most {fetch.settings.max_dataset_bytes} bytes.")
        if writer.take(piece):
            writer.store()
        late = time.monotonic() - began > PART_SECONDS
        if late and writer.size_bytes < SLOWEST_BYTES:
            raise FetchFailed(f"Under {SLOWEST_BYTES} bytes came in {PART_SECONDS:.0f} s.", passing=True)
        if late or writer.size_bytes >= PART_BYTES:
            have += writer.size_bytes
            yield writer
            writer, began = PartWriter(fetch.database, tenant_id=fetch.tenant_id), time.monotonic()
    if writer.size_bytes:
        yield writer


def _put(fetch: Fetch, number: int, writer: PartWriter) -> int:
    """List a part, and renew the lease in the same transaction."""
    writer.store(last=True)
    with fetch.database.session() as session:
        dataset = _note(session, fetch)
        check_quota(session, tenant_id=fetch.tenant_id, more_bytes=writer.size_bytes, settings=fetch.settings)
        part = DatasetPart(dataset_id=dataset.id, number=number, sha256=writer.sha256, size_bytes=writer.size_bytes)
        repository.put_part(session, dataset, part, writer.refs)
        dataset.remote = _farther(dict(dataset.remote or {}), writer.size_bytes)
    return writer.size_bytes


def _farther(remote: dict[str, Any], more_bytes: int) -> dict[str, Any]:
    """Count what has come; only what never came before is a reason for patience."""
    received = remote["received_bytes"] + more_bytes
    if received > remote["farthest_bytes"]:
        remote |= {"farthest_bytes": received, "tries": 0, "error": None}
    return {**remote, "received_bytes": received}


def _start_over(fetch: Fetch, remote: Remote) -> None:
    with fetch.database.session() as session:
        repository.drop_parts(session, dataset_id=fetch.dataset_id)
        pin = {"version": remote.version, "version_id": remote.version_id}
        _note(session, fetch, **pin, size_bytes=remote.size_bytes, received_bytes=0)


def _again_or_end(fetch: Fetch, failure: FetchFailed) -> None:
    """Give up, or wait twice as long as the last time; who got farther than ever since begins to count anew."""
    with fetch.database.session() as session:
        dataset = _note(session, fetch, error=failure.detail)
        tries = int((dataset.remote or {})["tries"]) + 1
        if not failure.passing or tries >= MAX_TRIES:
            fail(session, dataset, [Problem(failure.code, failure.detail, "/url", failure.hint)])
        else:
            dataset.remote = {**(dataset.remote or {}), "tries": tries}
            dataset.fetch_at = _in(_FIRST_PAUSE_SECONDS * 2 ** (tries - 1))


def _end(fetch: Fetch, *problems: Problem) -> None:
    with fetch.database.session() as session:
        fail(session, _owned(session, fetch), list(problems))


def _renew(fetch: Fetch, seconds: float) -> None:
    with fetch.database.session() as session:
        _note(session, fetch).fetch_at = _in(seconds)


def _note(session: Session, fetch: Fetch, **news: Any) -> Dataset:  # noqa: ANN401 - JSON
    """Write down how a fetch goes, and keep the turn."""
    dataset = _owned(session, fetch)
    dataset.remote = {**(dataset.remote or {}), **news}
    dataset.updated_at = func.now()
    dataset.fetch_at = _in(LEASE_SECONDS)
    return dataset


def _owned(session: Session, fetch: Fetch) -> Dataset:
    """Return the data set, locked.

    Raises:
        NotFound: it was deleted.
        Fenced: another has the turn by now.
    """
    dataset = repository.find_locked(session, tenant_id=fetch.tenant_id, dataset_id=fetch.dataset_id)
    if dataset is None:
        raise NotFound()
    if dataset.fetch_epoch != fetch.epoch:
        raise Fenced()
    return dataset


def _in(seconds: float) -> ColumnElement[Any]:
    return func.now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
