"""Cells of text become a typed column: integers, numbers, categories or texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import MAX_CATEGORY_CHARACTERS, MAX_CLASSES
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Values

_NUMBER = re.compile(
    r"\s*[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity|nan)\s*\Z", re.IGNORECASE
)
_INTEGER = re.compile(r"\s*[+-]?(?:0|[1-9][0-9]{0,17})\s*\Z")  # 007 is a code; 19 digits may not fit 64 bits
_STRAY_SHARE = 0.01
_FEW_NUMBERS = 20


def is_number(cell: str) -> bool:
    """Whether a cell is a number as files write it: no thousands separators, no other digits than 0-9."""
    return _NUMBER.match(cell) is not None


class Column:
    """One column in two passes: ``look`` at all cells, ``decide`` on a type, ``take`` all cells, give ``values``.

    Without a declared type a column of numbers with a few stray texts is refused: to take it for text would be silent.
    """

    def __init__(self, name: str, missing: frozenset[str], declared: str | None) -> None:
        self.name = name
        self._missing = missing
        self._declared = declared
        self._integers = declared in (None, "integer")
        self._numbers = declared in (None, "integer", "number")
        self._number_count = self._missing_count = self._rows = 0
        self._strays: list[tuple[int, str]] = []
        self._stray_count = 0
        self._distinct: set[str] = set()
        self._longest = 0
        self._type = ""
        self._codes: dict[str, int] = {}
        self._arrays: list[NDArray[np.float64] | NDArray[np.int64]] = []
        self._texts: list[bytes] = []

    def look(self, cells: Sequence[str], lines: Sequence[int]) -> None:
        """Note what the cells may be; ``lines`` are where their rows begin."""
        stripped = [cell.strip() for cell in cells]
        self._rows += len(cells)
        present = [cell for cell in stripped if cell not in self._missing]
        self._missing_count += len(cells) - len(present)
        if self._numbers or self._number_count:
            self._look_for_numbers(stripped, present, lines)
        if self._declared not in ("integer", "number", "text"):
            self._look_for_classes(present)

    def decide(self) -> None:
        """Choose the type.

        Raises:
            InvalidRequest: ``invalid_number``, ``too_many_classes``.
        """
        self._refuse_strays()
        if self._numbers:
            self._type = "integer" if self._integers and not self._missing_count else "number"
            if self._declared == "integer" and self._type != "integer":
                detail = f"Column {shown(self.name)} is declared integer, but has a missing cell or a fraction."
                refuse("invalid_number", detail, hint='Declare it as "number".')
        elif self._declared == "text" or (self._declared is None and not self._is_category()):
            self._type = "text"
        else:
            self._decide_category()

    def take(self, cells: Sequence[str]) -> None:
        """Convert the next cells."""
        if self._type == "text":
            self._texts += [cell.encode() for cell in cells]
            return
        stripped = [cell.strip() for cell in cells]
        if self._type == "integer":
            self._arrays.append(np.array([int(cell) for cell in stripped], dtype=np.int64))
        elif self._type == "number":
            numbers = [np.nan if cell in self._missing else float(cell) for cell in stripped]
            self._arrays.append(np.array(numbers, dtype=np.float64))
        else:
            self._arrays.append(np.array([self._codes.get(cell, -1) for cell in stripped], dtype=np.int64))

    def values(self) -> Values:
        """Return the column."""
        if self._type == "text":
            lengths = np.fromiter((len(text) for text in self._texts), dtype=np.int64, count=len(self._texts))
            offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
            return Values(np.frombuffer(b"".join(self._texts), dtype=np.uint8), "text", offsets=offsets)
        dtype = np.float64 if self._type == "number" else np.int64
        array = np.concatenate(self._arrays) if self._arrays else np.zeros(0, dtype=dtype)
        if self._type == "category":
            return Values(array, "category", tuple(self._codes))
        return Values(array)

    def _look_for_numbers(self, stripped: Sequence[str], present: Sequence[str], lines: Sequence[int]) -> None:
        if self._integers:
            self._integers = all(map(_INTEGER.match, present))
        plain = self._integers or _are_plain_numbers(present)
        good = present if plain else [cell for cell in present if _NUMBER.match(cell)]
        self._number_count += len(good)
        if len(good) < len(present):
            strays = (
                (line, cell)
                for line, cell in zip(lines, stripped, strict=True)
                if cell not in self._missing and not _NUMBER.match(cell)
            )
            self._strays = self._strays or [next(strays)]
            self._stray_count += len(present) - len(good)
            self._numbers = False
        elif not self._integers and self._declared is None and any(map(_is_code, good)):
            self._numbers = False  # as numbers they would lose zeros or digits

    def _look_for_classes(self, present: Sequence[str]) -> None:
        if len(self._distinct) <= MAX_CLASSES:
            self._distinct.update(present)
            self._longest = max([self._longest, *map(len, present)])

    def _refuse_strays(self) -> None:
        if not self._strays or self._declared in ("category", "text"):
            return
        few = self._stray_count <= max(1, _STRAY_SHARE * self._number_count) and self._number_count >= _FEW_NUMBERS
        if few or self._declared is not None:
            line, cell = self._strays[0]
            detail = f"Line {line}, column {shown(self.name)}: {shown(cell)} is no number."
            hint = 'Mend the cell, list it in "missing", or declare the column a "category" in "types".'
            refuse("invalid_number", detail, hint=hint)

    def _is_category(self) -> bool:
        return len(self._distinct) <= MAX_CLASSES and self._longest <= MAX_CATEGORY_CHARACTERS

    def _decide_category(self) -> None:
        if not self._is_category():
            detail = f"Column {shown(self.name)} has over {MAX_CLASSES} classes, or one with over 256 characters."
            refuse("too_many_classes", detail, hint='Declare it as "text".')
        self._type = "category"
        self._codes = {name: code for code, name in enumerate(sorted(self._distinct))}


def _are_plain_numbers(cells: Sequence[str]) -> bool:
    """Whether all are numbers, told by Python's own quick parser; it also takes 1_000 and digits of other scripts."""
    text = "".join(cells)
    if "_" in text or not text.isascii():
        return False
    try:
        for _ in map(float, cells):
            pass
    except ValueError:
        return False
    return True


def _is_code(cell: str) -> bool:
    """007 or 12345678901234567890: digits that name something."""
    return cell.isdigit() and len(cell) > 1 and (cell[0] == "0" or len(cell) > 18)
