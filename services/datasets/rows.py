"""Reads a few rows of a tenant's own data set straight from the chunk store: only the bytes that hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from services.datasets import repository
from services.datasets.preparation import PREPARED
from services.errors import ChunkCorrupt
from services.storage import chunks, layout
from services.storage.chunks import ChunkRef

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip
_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def read_rows(
    session: Session, *, tenant_id: str, dataset_id: str, columns: Sequence[str], rows: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Return each column's rows as ``{"value": numbers in row-major order, "shape": [rows, …], "dtype"}``.

    ``columns`` and ``rows`` must be those of a data set that is ready.

    Raises:
        ChunkCorrupt: stored bytes are missing or changed.
    """
    file = _File(session, tenant_id, dataset_id)
    header, data = file.header()
    return {name: _column(file, header[name], data, rows) for name in columns}


class _File:
    """The prepared file, read by ranges; each chunk is fetched and verified once."""

    def __init__(self, session: Session, tenant_id: str, dataset_id: str) -> None:
        self._session = session
        self._tenant_id = tenant_id
        self._refs = repository.refs(session, dataset_id=dataset_id, file=PREPARED)
        self._chunks: dict[int, bytes] = {}

    def header(self) -> tuple[dict[str, Any], int]:
        """Return the members of the safetensors header, and where the data begin."""
        head = b""
        for ref in self._refs:
            head += self._chunk(ref)
            header = layout.parse_header(head)
            if header is not None:
                return header, 8 + int.from_bytes(head[:8], "little")
        raise ChunkCorrupt("The data set's header is damaged.")

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` to ``end`` (exclusive)."""
        found = bytearray()
        for ref in self._refs:
            first, last = ref.offset_bytes, ref.offset_bytes + ref.size_bytes
            if first < end and last > start:
                found += self._chunk(ref)[max(0, start - first) : end - first]
        return bytes(found)

    def _chunk(self, ref: ChunkRef) -> bytes:
        if ref.offset_bytes not in self._chunks:
            self._chunks[ref.offset_bytes] = chunks.read(self._session, tenant_id=self._tenant_id, ref=ref)
        return self._chunks[ref.offset_bytes]


def _column(file: _File, entry: dict[str, Any], data: int, rows: Sequence[int]) -> dict[str, Any]:
    begin, end = entry["data_offsets"]
    shape = list(entry["shape"])
    size = (end - begin) // max(shape[0], 1)
    content = b"".join(file.read(data + begin + row * size, data + begin + (row + 1) * size) for row in rows)
    numbers = np.frombuffer(content, dtype=_DTYPES[entry["dtype"]])
    if len(numbers) != len(rows) * math.prod(shape[1:]):
        raise ChunkCorrupt("The data set's bytes are incomplete.")
    return {"value": numbers.tolist(), "shape": [len(rows), *shape[1:]], "dtype": _NAMES[entry["dtype"]]}
