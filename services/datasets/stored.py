"""Single columns of a tenant's own data set, read from the chunk store without its other bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from services.datasets import repository
from services.datasets.catalog import DatasetInfo
from services.datasets.preparation import PREPARED
from services.datasets.presentation import ReadColumns
from services.datasets.service import find_info
from services.errors import ChunkCorrupt, InvalidRequest, Problem
from services.storage import chunks, layout

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}
_DTYPES |= {"BOOL": "?"}


def read_columns(session: Session, tenant_id: str, dataset_id: str, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """Return columns by name, rows first.

    Raises:
        InvalidRequest: ``conflict`` for a built-in data set, which has no file here.
        ChunkCorrupt: stored bytes fail their checksum.
    """
    if not dataset_id.startswith("ds_"):
        detail = "A built-in data set has no missing values and no groups to split by."
        raise InvalidRequest([Problem("conflict", detail, "/data/split", "Upload the data as your own.")])
    header, begins = _header(session, tenant_id, dataset_id)
    found = {}
    for name in names:
        entry = header[name]
        start, end = (begins + offset for offset in entry["data_offsets"])
        content = _read(session, tenant_id, dataset_id, start, end)
        found[name] = np.frombuffer(content, dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def _header(session: Session, tenant_id: str, dataset_id: str) -> tuple[dict[str, Any], int]:
    head = b""
    for ref in repository.refs(session, dataset_id=dataset_id, file=PREPARED, end=layout.MAX_HEADER_BYTES):
        head += chunks.read(session, tenant_id=tenant_id, ref=ref)
        header = layout.parse_header(head)
        if header is not None:
            return header, 8 + int.from_bytes(head[:8], "little")
    raise ChunkCorrupt("The data set's header is damaged.")


def _read(session: Session, tenant_id: str, dataset_id: str, start: int, end: int) -> bytes:
    pieces = []
    for ref in repository.refs(session, dataset_id=dataset_id, file=PREPARED, start=start, end=end):
        data = chunks.read(session, tenant_id=tenant_id, ref=ref)
        pieces.append(data[max(0, start - ref.offset_bytes) : end - ref.offset_bytes])
    return b"".join(pieces)


class OwnDatasets:
    """The data sets of one tenant, as a plan asks for them."""

    def __init__(self, session: Session, tenant_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id

    def find(self, name: str) -> DatasetInfo | None:
        """Return an own one by its id, kept from being deleted until the transaction ends; None for another name.

        Raises:
            InvalidRequest: ``unknown_dataset``, ``dataset_not_ready``.
        """
        return find_info(self._session, tenant_id=self._tenant_id, name=name)

    def reader(self, name: str) -> ReadColumns:
        """Return what reads its columns."""
        return partial(read_columns, self._session, self._tenant_id, name)
