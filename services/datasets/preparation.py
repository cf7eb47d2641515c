"""From the parts of an upload to a data set that can be trained on: put together, verified, read, stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets import repository
from services.datasets.catalog import DATASETS
from services.datasets.reader import Reader, upload_folder
from services.datasets.service import get_own
from services.datasets.views import view
from services.db.dataset_models import Dataset
from services.db.engine import Database
from services.errors import Conflict, InvalidRequest, NotFound, Problem, UnsupportedFormat
from services.identifiers import check_id
from services.storage import chunks, layout
from services.storage.upload import upload_chunks

SOURCE, PREPARED = "source", "prepared.safetensors"
"""As `services.datasets.parsing.child`, which this module must not import."""


def complete(
    database: Database,
    *,
    tenant_id: str,
    dataset_id: str,
    reader: Reader,
    settings: Settings,
    sha256: str | None = None,
    before: Literal["uploading", "fetching"] = "uploading",
) -> dict[str, Any]:
    """Put the parts together, have them read, and store the columns; completing twice is completing once.

    ``before`` is the state in which the parts came, and to which a transfer that went wrong goes back.

    A process that dies on the way leaves the parts as they were: complete again.

    Raises:
        NotFound: the tenant has no such data set.
        Conflict: another request is completing it; or it is still being fetched.
        InvalidRequest: ``missing_part``, ``checksum_mismatch``, ``size_mismatch``: the upload stays open; or what is
            wrong with the file: the data set is ``failed`` then, and keeps the problems.
        UnsupportedFormat: the file is a pickle; the data set is ``failed``.
    """
    with database.session() as locking:
        if not repository.try_lock(locking, dataset_id=check_id(dataset_id, "ds")):
            raise Conflict("This upload is being completed already.", hint="GET the data set to see how it goes.")
        with database.session() as session:
            dataset = _begin(session, tenant_id, dataset_id, before)
        if dataset.state != "preparing":
            return _ended(dataset)
        try:
            with upload_folder(settings) as folder:
                _assemble(database, dataset, folder / SOURCE, sha256)
                return _prepare(database, dataset, folder, reader)
        except _Reopened as reopened:
            _set_state(database, dataset, before)
            raise InvalidRequest([reopened.problem]) from None
        except (InvalidRequest, UnsupportedFormat) as error:
            _fail(database, dataset, error)
            raise
        except BaseException:
            _set_state(database, dataset, before)
            raise


class _Reopened(Exception):
    """Something is wrong with the transfer, not with the file."""

    def __init__(self, code: str, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail, hint=hint)


def _begin(session: Session, tenant_id: str, dataset_id: str, before: str) -> Dataset:
    dataset = repository.find_locked(session, tenant_id=tenant_id, dataset_id=dataset_id)
    if dataset is None:
        raise NotFound()
    if dataset.state == before:
        dataset.state, dataset.updated_at = "preparing", func.now()
    return dataset


def _ended(dataset: Dataset) -> dict[str, Any]:
    if dataset.state == "fetching":
        raise Conflict("This data set is still being fetched.", hint="GET it to see how it goes.")
    if dataset.state == "failed":
        first = dataset.problems[0]
        if first["code"] == UnsupportedFormat.code:
            raise UnsupportedFormat(first["detail"], hint=first.get("hint"))
        raise InvalidRequest([Problem(**problem) for problem in dataset.problems])
    return view(dataset)


def _assemble(database: Database, dataset: Dataset, path: Path, sha256: str | None) -> None:
    """Write the parts, each chunk verified, and compare the whole with what was promised."""
    with database.read_session() as session:
        numbers = [part.number for part in repository.parts(session, dataset_id=dataset.id)]
    absent = sorted({*range(1, max(numbers, default=1) + 1)} - {*numbers})
    if absent:
        few = ", ".join(map(str, absent[:10]))
        raise _Reopened("missing_part", f"Part {few} has not arrived.", "PUT it, then complete again.")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in numbers:
            with database.read_session() as session:
                refs = repository.refs(session, dataset_id=dataset.id, file=repository.part_file(number))
            for ref in refs:
                with database.read_session() as session:
                    data = chunks.read(session, tenant_id=dataset.tenant_id, ref=ref)
                digest.update(data)
                file.write(data)
    _check_whole(dataset, digest.hexdigest(), path.stat().st_size, sha256 or dataset.source_sha256)


def _check_whole(dataset: Dataset, found: str, size_bytes: int, promised: str | None) -> None:
    again = "Send the parts again; GET …/parts shows their sha256."
    declared = dataset.source_size_bytes
    if declared is not None and declared != size_bytes:
        raise _Reopened("size_mismatch", f"{size_bytes} bytes have arrived, but {declared} were announced.", again)
    if promised is not None and promised != found:
        raise _Reopened("checksum_mismatch", f"The parts together have the sha256 {found}, not {promised}.", again)
    dataset.source_sha256, dataset.source_size_bytes = found, size_bytes


def _prepare(database: Database, dataset: Dataset, folder: Path, reader: Reader) -> dict[str, Any]:
    found = reader.read(folder, format_=dataset.format, options=dataset.options)
    prepared = folder / PREPARED
    refs = layout.chunk_refs(prepared)
    upload_chunks(database, tenant_id=dataset.tenant_id, refs={prepared: refs})
    with database.session() as session:
        row = repository.find_locked(session, tenant_id=dataset.tenant_id, dataset_id=dataset.id)
        if row is None:  # deleted meanwhile
            raise NotFound()
        repository.drop_parts(session, dataset_id=row.id)
        repository.drop_file(session, dataset_id=row.id, file=PREPARED)
        repository.insert_file(session, row, file=PREPARED, refs=refs)
        row.state, row.problems, row.updated_at = "ready", [], func.now()
        row.source_sha256, row.source_size_bytes = dataset.source_sha256, dataset.source_size_bytes
        row.sha256, row.size_bytes = found["sha256"], prepared.stat().st_size
        row.profile = found["profile"]
        row.info = {
            "rows": found["rows"],
            "columns": found["columns"],
            "default_inputs": found["inputs"],
            "default_target": found["target"],
        }
        session.flush()
        session.refresh(row)
        return view(row)


def _fail(database: Database, dataset: Dataset, error: InvalidRequest | UnsupportedFormat) -> None:
    """Keep the problems, drop the bytes."""
    problems = (
        error.problems if isinstance(error, InvalidRequest) else [Problem(error.code, error.detail, hint=error.hint)]
    )
    with database.session() as session:
        row = repository.find_locked(session, tenant_id=dataset.tenant_id, dataset_id=dataset.id)
        if row is not None:
            fail(session, row, problems)


def fail(session: Session, row: Dataset, problems: Sequence[Problem]) -> None:
    """Keep why a data set cannot be had, and drop its bytes; the caller has locked the row."""
    repository.drop_parts(session, dataset_id=row.id)
    row.state, row.updated_at = "failed", func.now()
    row.problems = [problem.to_dict() for problem in problems]


def _set_state(database: Database, dataset: Dataset, state: str) -> None:
    with database.session() as session:
        row = repository.find_locked(session, tenant_id=dataset.tenant_id, dataset_id=dataset.id)
        if row is not None:
            row.state, row.updated_at = state, func.now()


def get_preview(database: Database, *, tenant_id: str, dataset_id: str, rows: int, reader: Reader) -> dict[str, Any]:
    """Return the first rows and the statistics of each column, of a built-in data set or of the tenant's own.

    Raises:
        NotFound, InvalidRequest: as `get_own`.
        Conflict: it is not ready.
        Unavailable: a built-in one could not be read right now.
    """
    if dataset_id in DATASETS:
        profile, total = reader.profile_builtin(dataset_id), DATASETS[dataset_id].rows
    else:
        with database.read_session() as session:
            dataset = get_own(session, tenant_id=tenant_id, dataset_id=dataset_id)
            if dataset.profile is None or dataset.info is None:
                raise Conflict(f"The data set is {dataset.state}, not ready.", hint="Complete its upload first.")
            profile, total = dataset.profile, dataset.info["rows"]
    shown = {name: values[:rows] for name, values in profile["preview"].items()}
    return {
        "object": "dataset_preview",
        "dataset_id": dataset_id,
        "total_rows": total,
        "rows": len(next(iter(shown.values()))),
        "columns": shown,
        "statistics": profile["statistics"],
    }
