"""Rows that a request holds in itself become stored columns, as if a file had held them; each bad cell is named."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from services.datasets.parsing.cells import is_number
from services.datasets.plain import CODED
from services.definition.problems import nearest_hint
from services.errors import InvalidRequest, Problem
from services.modules.data.columns import Stored

MAX_PROBLEMS = 50
_WHOLE = "iu"
_SHOWN_CHARACTERS = 60
_HINTS = 5
_LISTED = 20
_LARGEST = 2**63


class InlineRows:
    """The rows of one request: ``{"rows": [{name: value}, …]}`` or ``{"columns": {name: [value, …]}}``.

    ``sources`` describes each stored column that can be read (as in a recipe), ``names`` has the names of its classes.
    """

    def __init__(self, given: Mapping[str, Any], vocabularies: Mapping[str, Sequence[str]]) -> None:
        self.problems: list[Problem] = []
        self._by_row = given.get("rows") is not None
        self._rows: list[dict[str, Any]] = given.get("rows") or []
        self._columns: dict[str, Any] = {name: _listed(values) for name, values in (given.get("columns") or {}).items()}
        self._vocabularies = vocabularies
        self.count = len(self._rows) if self._by_row else max(map(len, self._columns.values()), default=0)

    def given(self) -> set[str]:
        """Return the names of the columns that are there."""
        return {name for row in self._rows for name in row} if self._by_row else {*self._columns}

    def read(self, sources: Mapping[str, Mapping[str, Any]], fills: set[str]) -> dict[str, Stored]:
        """Return the columns; those in ``fills`` may miss numbers.

        Raises:
            InvalidRequest: ``missing_column``, ``missing_value``, ``wrong_type``, ``unknown_category``,
                ``shape_mismatch``, ``out_of_range``, ``invalid_image``: with row and column, many at once.
        """
        found = {}
        for name, source in sources.items():
            cells = self._cells(name)
            if cells is not None:
                found[name] = self._stored(name, source, cells, may_miss=name in fills)
        if self.problems:
            raise InvalidRequest(self.problems[:MAX_PROBLEMS])
        return found

    def _cells(self, name: str) -> list[Any] | None:
        """Return the values of a column; None, with a problem, where it is not there in all rows."""
        if not self._by_row:
            if name not in self._columns or len(self._columns[name]) != self.count:
                self._say_column(name)
                return None
            return list(self._columns[name])
        absent = next((index for index, row in enumerate(self._rows) if name not in row), None)
        if absent is not None:
            near = _near(name, [*self._rows[absent]])
            detail = f"Row {absent} has no column {name[:_SHOWN_CHARACTERS]!r}."
            self.problems.append(Problem("missing_column", detail, f"/rows/{absent}", near))
            return None
        return [row[name] for row in self._rows]

    def _say_column(self, name: str) -> None:
        if name not in self._columns:
            detail = f"The column {name[:_SHOWN_CHARACTERS]!r} is not given."
            self.problems.append(Problem("missing_column", detail, "/columns", _near(name, [*self._columns])))
        else:
            detail = f"Column {name[:_SHOWN_CHARACTERS]!r} has {len(self._columns[name])} values, others {self.count}."
            self.problems.append(Problem("row_count_mismatch", detail, f"/columns/{_escaped(name)}"))

    def _stored(self, name: str, source: Mapping[str, Any], cells: list[Any], *, may_miss: bool) -> Stored:
        cells = [None if cell == "" and source["kind"] != "text" else cell for cell in cells]
        reader = _Cells(self, name, source, may_miss=may_miss)
        if source["kind"] == "text":
            return reader.texts(cells)
        if name in self._vocabularies and source["kind"] in CODED:
            return reader.codes(cells, self._vocabularies[name])
        if source["kind"] == "image":
            return reader.images(cells)
        return reader.numbers(cells, self._vocabularies.get(name, ()))

    def say(self, code: str, detail: str, name: str, row: int, hint: str | None = None) -> None:
        """Note what is wrong with one cell."""
        pointer = f"/rows/{row}/{_escaped(name)}" if self._by_row else f"/columns/{_escaped(name)}/{row}"
        where = f"Row {row}, column {name[:_SHOWN_CHARACTERS]!r}"
        self.problems.append(Problem(code, f"{where}: {detail}", pointer, hint))


class _Cells:
    """Reads the cells of one column."""

    def __init__(self, rows: InlineRows, name: str, source: Mapping[str, Any], *, may_miss: bool) -> None:
        self._rows = rows
        self._name = name
        self._may_miss = may_miss
        self._dtype = np.dtype("uint8" if source["kind"] in ("text", "image") else source["dtype"])
        self._shape = tuple(source["shape"])

    def texts(self, cells: Sequence[Any]) -> Stored:
        """Return the bytes of all texts and where each begins."""
        content = [self._text(cell, row).encode("utf-8", "replace") for row, cell in enumerate(cells)]
        offsets = torch.tensor(np.cumsum([0, *map(len, content)]), dtype=torch.int64)
        return Stored(torch.from_numpy(np.frombuffer(b"".join(content), dtype=np.uint8).copy()), offsets)

    def codes(self, cells: Sequence[Any], names: Sequence[str]) -> Stored:
        """Return the numbers of categories, for each row one or an array."""
        index = {name: code for code, name in enumerate(names)}
        made = np.zeros((len(cells), *self._shape), dtype=np.int64)
        for row, cell in enumerate(cells):
            made[row] = self._whole(cell, row, len(names) - 1) if self._shape else self._code(cell, row, index)
        return Stored(torch.from_numpy(made))

    def images(self, cells: Sequence[Any]) -> Stored:
        """Return the pixels of image files in base64, or of nested lists of 0 to 255."""
        made = np.zeros((len(cells), *self._shape), dtype=np.uint8)
        for row, cell in enumerate(cells):
            made[row] = self._image(cell, row) if isinstance(cell, str) else self._whole(cell, row, 255)
        return Stored(torch.from_numpy(made))

    def numbers(self, cells: Sequence[Any], names: Sequence[str]) -> Stored:
        """Return numbers in the stored dtype; in a column of whole ones, fractions and gaps make all float64."""
        index = {name: code for code, name in enumerate(names)}
        read = self._array if self._shape else partial(self._number, index)
        made = np.array([read(cell, row) for row, cell in enumerate(cells)]).reshape(len(cells), *self._shape)
        if self._dtype.kind in _WHOLE and made.dtype.kind == "f" and not bool((made == np.floor(made)).all()):
            return Stored(torch.from_numpy(made))
        with np.errstate(all="ignore"):
            cast = made.astype(self._dtype)
            wrong = np.isfinite(made) & ~np.isclose(cast.astype(np.float64), made.astype(np.float64), rtol=1e-2)
        for row in np.flatnonzero(wrong.reshape(len(made), -1).any(1)):
            self._say("out_of_range", f"a value lies beyond {self._dtype.name}.", int(row))
        return Stored(torch.from_numpy(cast))

    def _text(self, cell: object, row: int) -> str:
        if isinstance(cell, str):
            return cell
        self._say("missing_value" if cell is None else "wrong_type", f"a text is needed, not {_shown(cell)}.", row)
        return ""

    def _code(self, cell: object, row: int, index: Mapping[str, int]) -> int:
        if isinstance(cell, str) and cell in index:
            return index[cell]
        if cell is None:
            self._say("missing_value", "a category is needed.", row)
        elif not isinstance(cell, str):
            hint = f'Write it as text: "{cell}".' if str(cell) in index else self._near(str(cell), index)
            self._say("wrong_type", f"a category is a text, not {_shown(cell)}.", row, hint)
        else:
            detail = f"there was no {_shown(cell)} in the training data."
            self._say("unknown_category", detail, row, self._near(cell, index))
        return 0

    def _number(self, index: Mapping[str, int], cell: Any, row: int) -> float:  # noqa: ANN401 - JSON
        if isinstance(cell, bool):
            cell = int(cell) if self._dtype.kind == "b" else [cell]
        if isinstance(cell, str) and cell in index:  # a class that has a name
            return index[cell]
        if isinstance(cell, str) and is_number(cell) and np.isfinite(float(cell)):
            return float(cell)
        if isinstance(cell, int | float):
            if abs(cell) < _LARGEST or (isinstance(cell, float) and np.isfinite(cell)):
                return cell
            self._say("out_of_range", "this number is too large.", row)
        elif cell is None and self._may_miss:
            return float("nan")
        elif cell is None:
            hint = 'Only a feature with "missing": "mean" or the like fills gaps.'
            self._say("missing_value", "a number is needed.", row, hint)
        else:
            near = self._near(cell, index) if isinstance(cell, str) and index else None
            self._say("wrong_type", f"a number is needed, not {_shown(cell)}.", row, near)
        return 0

    def _array(self, cell: object, row: int) -> NDArray[Any]:
        """Return nested lists of numbers as an array of the row's shape."""
        try:
            found = np.array(cell)
        except (ValueError, OverflowError):
            found = np.array(None)
        if found.dtype.kind not in "biuf":
            self._say("wrong_type", f"nested lists of numbers of shape {list(self._shape)} are needed.", row)
        elif found.shape != self._shape:
            self._say("shape_mismatch", f"the shape is {list(found.shape)}, not {list(self._shape)}.", row)
        else:
            return found
        return np.zeros(self._shape, dtype=np.int64)

    def _whole(self, cell: object, row: int, largest: int) -> NDArray[Any]:
        """Return nested lists of whole numbers from 0 to ``largest``."""
        found = self._array(cell, row)
        if found.dtype.kind not in _WHOLE or found.min() < 0 or found.max() > largest:
            self._say("out_of_range", f"whole numbers from 0 to {largest} are needed.", row)
            return np.zeros(self._shape, dtype=np.int64)
        return found

    def _image(self, text: str, row: int) -> NDArray[np.uint8]:
        from services.datasets.parsing.image import bound_pixels, pixels  # noqa: PLC0415 - Pillow, for images alone

        bound_pixels()
        channels, height, width = self._shape
        try:
            return pixels(base64.b64decode(text, validate=True), f"row {row}", (height, width), channels)
        except binascii.Error:
            self._say("invalid_image", "this is not base64.", row, "Send the bytes of an image file in base64.")
        except InvalidRequest as error:
            self._say(error.problems[0].code, error.problems[0].detail, row, error.problems[0].hint)
        return np.zeros(self._shape, dtype=np.uint8)

    def _say(self, code: str, detail: str, row: int, hint: str | None = None) -> None:
        if len(self._rows.problems) < MAX_PROBLEMS:
            self._rows.say(code, detail, self._name, row, hint)

    def _near(self, text: str, index: Mapping[str, int]) -> str | None:
        """Look for near names, which takes a while among thousands, for the first problems only."""
        return _near(text, [*index]) if len(self._rows.problems) < _HINTS else None


def _near(name: str, known: list[str]) -> str:
    """Return a hint with the known names most like ``name``, or the first of all."""
    return nearest_hint(name, known) or f"Known: {', '.join(known[:_LISTED])}{', …' if len(known) > _LISTED else ''}."


def _escaped(name: str) -> str:
    """Return one part of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _listed(values: object) -> object:
    """A text may stand for its characters, as a column of a text file has them."""
    return [*values] if isinstance(values, str) else values


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
