"""Data sets as clients see them: begin an upload, list, look, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets import repository
from services.datasets.catalog import DATASETS, DatasetInfo
from services.datasets.schema import FORMATS, DatasetRequest
from services.datasets.sources import Pin, pin, to_fetch
from services.datasets.views import brief_view, builtin_view, view
from services.db.clock import new_row_id
from services.db.dataset_models import Dataset
from services.errors import BodyTooLarge, Conflict, InvalidRequest, NotFound, Problem, UnsupportedFormat
from services.identifiers import check_id
from services.limits import quotas
from services.limits.storage import check_storage
from services.pages import Page, id_cursor
from services.preconditions import StillSo, in_any_case
from services.training.problems import nearest, problems_from

Owner = Literal["own", "builtin"]
_OPEN = ("uploading", "preparing")


@dataclass(frozen=True, slots=True)
class Begun:
    """A data set that is to be filled, or one that the tenant has already; or the answer to an earlier request."""

    dataset: dict[str, Any]
    created: bool
    replayed: bool = False


def read_request(body: dict[str, Any]) -> DatasetRequest:
    """Check the request for a new data set.

    Raises:
        InvalidRequest: with every problem.
        UnsupportedFormat: no such format is read here.
    """
    try:
        request = DatasetRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, DatasetRequest)) from None
    if request.format is not None:
        check_format(request.format)
    return request


def check_format(name: str) -> None:
    """Refuse a format that is not read here.

    Raises:
        UnsupportedFormat: pickles among others.
    """
    if name not in FORMATS:
        detail = f"The format {name[:40]!r} is not read here."
        raise UnsupportedFormat(detail, hint=f"{nearest(name, FORMATS)} Pickles are never read: they can run code.")


def begin(session: Session, *, tenant_id: str, request: DatasetRequest, settings: Settings) -> Begun:
    """Make a data set whose bytes will follow.

    With the sha256 of bytes that are here already, or are on their way, that data set is returned: so a client goes on
    with an upload that was cut. So is that of the same object of an object store, as long as its ETag is the same.

    Raises:
        BodyTooLarge: it is declared larger than a data set may be.
        QuotaExceeded: the tenant's data sets take too much.
        UrlNotAllowed, InvalidRequest: nothing can be fetched from there (see `sources.pin`).
    """
    if request.size_bytes is not None and request.size_bytes > settings.max_dataset_bytes:
        raise BodyTooLarge(f"A data set may have at most {settings.max_dataset_bytes} bytes.")
    if request.sha256 is not None:
        known = find_same(session, tenant_id=tenant_id, request=request, source_sha256=request.sha256)
        known = known or find_same(
            session, tenant_id=tenant_id, request=request, source_sha256=request.sha256, states=_OPEN
        )
        if known is not None:
            return Begun(view(known), created=False)
    found = None if request.url is None else pin(request.url, settings, tenant_id=tenant_id)
    if found is not None and found.version is not None:
        known = _find_fetched(session, tenant_id, request, found)
        if known is not None:
            return Begun(view(known), created=False)
    announced = request.size_bytes or (found and found.size_bytes) or 0
    check_quota(session, tenant_id=tenant_id, more_bytes=announced, settings=settings)
    dataset = Dataset(
        id=new_row_id(session, "ds"),
        tenant_id=tenant_id,
        name=request.name or (request.format or "inline"),
        format=request.format or "json",
        options=request.options(),
        source_sha256=request.sha256,
        source_size_bytes=request.size_bytes,
        **_to_fetch(request, found),
    )
    session.add(dataset)
    session.flush()
    session.refresh(dataset)
    return Begun(view(dataset), created=True)


def _to_fetch(request: DatasetRequest, found: Pin | None) -> dict[str, Any]:
    """Return the columns of a data set that a worker is to fetch."""
    if request.url is None or found is None:
        return {}
    return {"state": "fetching", "remote": to_fetch(request.url, found), "fetch_at": func.now()}


def _find_fetched(session: Session, tenant_id: str, request: DatasetRequest, found: Pin) -> Dataset | None:
    """Return a data set that was made of the same version of the same object in the same way, or is being made."""
    options = request.options()
    same = repository.with_remote(session, tenant_id=tenant_id, url=request.url or "", version=found.version or "")
    alike = (one for one in same if one.options == options and one.format == request.format)
    return next((one for one in alike if (one.remote or {}).get("version_id") == found.version_id), None)


def find_same(
    session: Session,
    *,
    tenant_id: str,
    request: DatasetRequest,
    source_sha256: str,
    states: Sequence[str] = ("ready",),
) -> Dataset | None:
    """Return a data set that was made of the same bytes in the same way, or is to be by an upload that is open."""
    options = request.options()
    same = repository.with_source(
        session, tenant_id=tenant_id, source_sha256=source_sha256, format_=request.format or "json", states=states
    )
    return next((one for one in same if one.options == options), None)


def check_quota(session: Session, *, tenant_id: str, more_bytes: int, settings: Settings) -> None:
    """Refuse what would take a tenant over its limits.

    Raises:
        QuotaExceeded: with the limit.
    """
    limit = quotas.limits_of(session, tenant_id=tenant_id, settings=settings)["dataset_bytes"]
    used = stored_bytes(session, tenant_id=tenant_id)
    if used + more_bytes > limit:
        raise quotas.exceeded("dataset_bytes", used=used, limit=limit)
    check_storage(session, tenant_id=tenant_id, settings=settings, more_bytes=more_bytes)


def stored_bytes(session: Session, *, tenant_id: str) -> int:
    """Return how much a tenant's data sets take, with what is being uploaded."""
    return repository.stored_bytes(session, tenant_id=tenant_id)


def get_own(session: Session, *, tenant_id: str, dataset_id: str) -> Dataset:
    """Return the tenant's data set.

    Raises:
        NotFound: the tenant has no such data set.
        InvalidRequest: ``invalid_id``.
    """
    found = repository.find(session, tenant_id=tenant_id, dataset_id=check_id(dataset_id, "ds"))
    if found is None:
        raise NotFound()
    return found


def get_dataset(session: Session, *, tenant_id: str, dataset_id: str) -> dict[str, Any]:
    """Return the view of a built-in data set, by its name, or of the tenant's own, by its id.

    Raises:
        NotFound, InvalidRequest: as `get_own`.
    """
    if dataset_id in DATASETS:
        return builtin_view(DATASETS[dataset_id])
    return view(get_own(session, tenant_id=tenant_id, dataset_id=dataset_id))


def list_datasets(
    session: Session,
    *,
    tenant_id: str,
    limit: int = 20,
    after: str | None = None,
    owner: Owner | None = None,
    states: Sequence[str] = (),
    created_after: datetime | None = None,
) -> Page:
    """Return a page: the tenant's own, newest first and without the names of classes, then the built-in ones.

    The built-in ones are ``ready``, and were made at no time.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    rows: list[dict[str, Any]] = []
    if owner != "builtin" and after not in DATASETS:
        own = repository.page(
            session,
            tenant_id=tenant_id,
            limit=limit + 1,
            after=id_cursor(after, "ds"),
            states=states,
            created_after=created_after,
        )
        rows += [brief_view(one) for one in own]
    builtin = owner != "own" and created_after is None and (not states or "ready" in states)
    if builtin and len(rows) <= limit:
        rows += [builtin_view(one) for one in _builtins_after(after)]
    return Page.of(rows[: limit + 1], limit=limit)


def delete_dataset(session: Session, *, tenant_id: str, dataset_id: str, still_so: StillSo = in_any_case) -> None:
    """Delete a data set; checkpoints that were trained on it stay.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        Conflict: ``dataset_in_use`` by a job that has not ended.
        NotFound, InvalidRequest: as `get_own`; built-in ones cannot be deleted.
    """
    if dataset_id in DATASETS:
        raise Conflict("A built-in data set cannot be deleted.")
    dataset = repository.find_locked(session, tenant_id=tenant_id, dataset_id=check_id(dataset_id, "ds"))
    if dataset is None:
        raise NotFound()
    still_so(view(dataset))
    users = repository.unfinished_users(session, tenant_id=tenant_id, dataset_id=dataset_id)
    if users:
        raise DatasetInUse(users)
    session.delete(dataset)


class DatasetInUse(Conflict):
    """Jobs that have not ended train on this data set."""

    code = "dataset_in_use"

    def __init__(self, jobs: list[str]) -> None:
        super().__init__(f"{', '.join(jobs)} train on it and have not ended.", hint="Cancel them, or wait.")


def find_info(session: Session, *, tenant_id: str, name: str) -> DatasetInfo | None:
    """Return what is known of the tenant's own data set, kept from being deleted until the transaction ends.

    Raises:
        InvalidRequest: ``unknown_dataset``, ``dataset_not_ready``.
    """
    if not name.startswith("ds_"):
        return None
    dataset = repository.find_locked(session, tenant_id=tenant_id, dataset_id=name, shared=True)
    pointer = "/data/dataset"
    if dataset is None:
        hint = "GET /v1/datasets lists yours."
        raise InvalidRequest([Problem("unknown_dataset", f"There is no data set {name[:80]!r}.", pointer, hint)])
    if dataset.state != "ready" or dataset.info is None:
        detail = f"The data set is {dataset.state}, not ready."
        raise InvalidRequest([Problem("dataset_not_ready", detail, pointer, "Complete its upload first.")])
    counted = {"statistics": (dataset.profile or {}).get("statistics", {})}
    return DatasetInfo.from_dict({**dataset.info, **counted, "name": dataset.id, "title": dataset.name})


def _builtins_after(after: str | None) -> list[DatasetInfo]:
    names = [*DATASETS]
    first = names.index(after) + 1 if after is not None and after in DATASETS else 0
    return [DATASETS[name] for name in names[first:]]
