"""Columns as readers give them: checked, described, and written as the one file that trainers read."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import (
    MAX_CLASSES,
    MAX_COLUMNS,
    MAX_DIMENSIONS,
    MAX_NAME_CHARACTERS,
    MAX_NAMES_BYTES,
    MAX_ROWS,
)
from services.datasets.parsing.refusal import refuse, shown

Kind = Literal["number", "category", "text", "image", "token"]
OFFSETS = "#offsets"
"""A text column `t` is two tensors: `t` has the bytes of all rows, `t#offsets` where each row begins, and the end."""

_BLOCK_BYTES = 8 << 20
_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_WIDER = {"uint16": "int32", "uint32": "int64"}


@dataclass(frozen=True, slots=True)
class Values:
    """One column: ``array`` has rows first. ``class_names`` name the codes 0, 1, … of a category; -1 means missing.

    Of a text column ``array`` has the UTF-8 bytes of all rows, one after another, and ``offsets`` rows + 1 positions.
    """

    array: NDArray[Any]
    kind: Kind = "number"
    class_names: tuple[str, ...] = ()
    offsets: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.array if self.offsets is None else self.offsets[1:])

    def describe(self) -> dict[str, Any]:
        """Return dtype, shape of a row, kind and classes."""
        shape = list(self.array.shape[1:]) if self.offsets is None else []
        about: dict[str, Any] = {"dtype": self.array.dtype.name, "shape": shape, "kind": self.kind}
        if self.kind in ("category", "token"):
            return about | {"classes": len(self.class_names), "class_names": list(self.class_names)}
        if self.offsets is not None:
            characters = vocabulary(self.array)
            return about | ({"classes": len(characters), "class_names": list(characters)} if characters else {})
        classes = _label_classes(self.array) if self.kind == "number" else None
        return about | ({"classes": classes, "class_names": []} if classes else {})


Table = dict[str, Values]


def checked(table: Mapping[str, Values]) -> Table:
    """Return the table with dtypes that the file can hold.

    Raises:
        InvalidRequest: ``empty_dataset``, ``too_many_columns``, ``too_many_rows``, ``row_count_mismatch``,
            ``invalid_name``, ``unsupported_dtype``, ``invalid_shape``, ``too_many_classes``.
    """
    if not table:
        refuse("empty_dataset", "The file has no column.")
    if len(table) > MAX_COLUMNS:
        refuse("too_many_columns", f"{len(table)} columns are too many: at most {MAX_COLUMNS}.")
    rows = {name: values.rows for name, values in table.items()}
    first = next(iter(rows))
    for name, count in rows.items():
        check_name(name)
        if count != rows[first]:
            detail = f"Column {shown(name)} has {count} rows, but {shown(first)} has {rows[first]}."
            refuse("row_count_mismatch", detail, hint="Give every column one value, or array of values, a row.")
    if rows[first] == 0:
        refuse("empty_dataset", "The file has no rows.")
    if rows[first] > MAX_ROWS:
        refuse("too_many_rows", f"{rows[first]} rows are too many: at most {MAX_ROWS}.")
    _check_names_size(table)
    return {name: _storable(name, values) for name, values in table.items()}


def _check_names_size(table: Mapping[str, Values]) -> None:
    sizes = {name: sum(len(one.encode()) for one in values.class_names) for name, values in table.items()}
    if sum(sizes.values()) > MAX_NAMES_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        detail = f"The names of all classes take over {MAX_NAMES_BYTES} bytes, most of them in {shown(largest)}."
        refuse("too_many_classes", detail, hint='Declare such columns as "text", or leave them out.')


def check_name(name: str) -> None:
    """Refuse what cannot name a column.

    Raises:
        InvalidRequest: ``invalid_name``.
    """
    sound = 0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable() and not name.endswith(OFFSETS)
    if not sound or name == "__metadata__":
        hint = f"Use 1 to {MAX_NAME_CHARACTERS} printable characters."
        refuse("invalid_name", f"{shown(name)} cannot be the name of a column.", hint=hint)


def write_table(path: Path, table: Table) -> str:
    """Write the columns as a safetensors file and return its sha256."""
    # Widest items first: every tensor then begins at a multiple of its own item size.
    tensors = dict(sorted(_tensors(table), key=lambda pair: -pair[1].itemsize))
    header = _header(tensors)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (len(header).to_bytes(8, "little"), header):
            digest.update(piece)
            file.write(piece)
        for array in tensors.values():
            for block in blocks(array):
                content = np.ascontiguousarray(block).tobytes()
                digest.update(content)
                file.write(content)
    return digest.hexdigest()


def vocabulary(content: NDArray[Any]) -> str:
    """Return the characters of UTF-8 bytes, in order; none if there are more than a category may have."""
    found: set[str] = set()
    decoder = codecs.getincrementaldecoder("utf-8")()
    for block in blocks(content):
        found.update(decoder.decode(block.tobytes()))
        if len(found) > MAX_CLASSES:
            return ""
    return "".join(sorted(found))


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield runs of rows of some MiB each: an array may be a view of a file larger than memory."""
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    rows = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _storable(name: str, values: Values) -> Values:
    array = values.array
    if array.ndim > MAX_DIMENSIONS:
        refuse("invalid_shape", f"Column {shown(name)} has {array.ndim} dimensions: at most {MAX_DIMENSIONS}.")
    if 0 in array.shape[1:]:
        refuse("invalid_shape", f"A row of column {shown(name)} has no values: its shape is {list(array.shape[1:])}.")
    if array.dtype.name == "uint64":
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            refuse("unsupported_dtype", f"Column {shown(name)} has values beyond int64.", hint="Store it as float64.")
        array = array.astype(np.int64)
    array = array.astype(_WIDER.get(array.dtype.name, array.dtype.newbyteorder("=")), copy=False)
    if array.dtype.name not in _DTYPES:
        hint = f"Store numbers or booleans: {', '.join(_DTYPES)}."
        refuse("unsupported_dtype", f"Column {shown(name)} has the dtype {array.dtype.name}.", hint=hint)
    return Values(array, values.kind, values.class_names, values.offsets)


def _label_classes(array: NDArray[Any]) -> int | None:
    """Return k if the column holds all of 0, 1, … k - 1 and nothing else, as class numbers do."""
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        return None
    low, high = int(array.min()), int(array.max())
    if low != 0 or not 1 <= high < MAX_CLASSES:
        return None
    return high + 1 if len(np.unique(array)) == high + 1 else None


def _tensors(table: Table) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, values in table.items():
        yield name, values.array
        if values.offsets is not None:
            yield name + OFFSETS, values.offsets


def _header(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    members: dict[str, object] = {}
    offset = 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        members[name] = {"dtype": _DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(members, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)
