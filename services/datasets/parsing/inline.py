"""Tiny data that a request holds in itself: columns of values, or rows of objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from services.datasets.parsing.cells import Column
from services.datasets.parsing.refusal import shown
from services.datasets.parsing.table import Table, Values
from services.errors import InvalidRequest, Problem

_KINDS = {bool: "booleans", int: "numbers", float: "numbers", str: "texts"}


def read_inline(path: Path) -> Table:
    """Return the columns of ``{"columns": {name: [value, …]}}`` or ``{"rows": [{name: value}, …]}``; null is missing.

    Raises:
        InvalidRequest: ``ragged_row``, ``mixed_types``, ``row_count_mismatch``, with a pointer.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if "rows" in content:
        return _from_rows(content["rows"])
    return {name: _column(name, values, f"/columns/{_escape(name)}") for name, values in content["columns"].items()}


def _from_rows(rows: list[dict[str, Any]]) -> Table:
    names = list(rows[0])
    for number, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            different = sorted(row.keys() ^ rows[0].keys())
            _refuse("ragged_row", f"Row {number} differs in {shown(different[0])}.", f"/rows/{number}")
    return {name: _column(name, [row[name] for row in rows], "/rows") for name in names}


def _column(name: str, values: list[Any], pointer: str) -> Values:
    if any(isinstance(value, list) for value in values):
        return Values(_nested(name, values, pointer))
    kinds = {_KINDS.get(type(value), "objects") for value in values if value is not None}
    if len(kinds) > 1 or "objects" in kinds:
        _refuse("mixed_types", f"Column {shown(name)} mixes {' and '.join(sorted(kinds))}.", pointer)
    if kinds == {"texts"}:
        column = Column(name, frozenset(), "category" if None in values else None)
        return _classes(column, values)
    if None in values:
        return Values(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
    return Values(_array(name, values, pointer))


def _classes(column: Column, values: list[str | None]) -> Values:
    names = sorted({value for value in values if value is not None})
    index = {name: code for code, name in enumerate(names)}
    codes = [-1 if value is None else index[value] for value in values]
    return Values(np.array(codes, dtype=np.int64), "category", tuple(names))


def _nested(name: str, values: list[Any], pointer: str) -> NDArray[Any]:
    first = _shape(values[0])
    for number, value in enumerate(values):
        if _shape(value) != first:
            detail = f"Column {shown(name)}, row {number}: its shape {_shape(value)} is not {first}, that of row 0."
            _refuse("ragged_row", detail, f"{pointer}/{number}" if pointer != "/rows" else f"/rows/{number}")
    return _array(name, values, pointer)


def _array(name: str, values: list[Any], pointer: str) -> NDArray[Any]:
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        _refuse("ragged_row", f"Column {shown(name)} is not rectangular.", pointer)
    if array.dtype.kind not in "biuf":
        _refuse("mixed_types", f"Column {shown(name)} holds something else than numbers.", pointer)
    return array


def _shape(value: object) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _refuse(code: str, detail: str, pointer: str) -> NoReturn:
    raise InvalidRequest([Problem(code, detail, pointer)])
