"""CSV: types are found out in a first pass and checked to the last cell; what does not fit is named by its line."""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from services.datasets.limits import MAX_CELL_BYTES, MAX_COLUMNS, MAX_LINE_BYTES, MAX_ROWS
from services.datasets.parsing.cells import Column, is_number
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, check_name

_BATCH_ROWS = 4096
_DELIMITERS = (",", ";", "\t", "|")
_LOOK_ROWS = 20
_BLOCK_BYTES = 1 << 20  # less than a line may have, so that a line that is too long spans blocks
Row = list[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: the line on which each begins, and their cells column by column."""

    lines: list[int]
    columns: list[tuple[str, ...]]


def read_csv(path: Path, options: Mapping[str, Any]) -> Table:
    """Return the columns of a CSV file (RFC 4180, UTF-8, any of four delimiters).

    Raises:
        InvalidRequest: ``invalid_encoding``, ``invalid_csv``, ``ragged_row``, ``too_many_columns``, ``cell_too_large``,
            ``invalid_number``, ``duplicate_name``, ``unknown_column``, ``empty_dataset``, each with the line.
    """
    csv.field_size_limit(MAX_CELL_BYTES)
    _check_lines(path)
    delimiter = options.get("delimiter") or _find_delimiter(path)
    names, skipped = _names(path, delimiter, options.get("header"))
    types = options.get("types") or {}
    for name in types:
        if name not in names:
            refuse("unknown_column", f"`types` names {shown(name)}, but there is no such column.")
    missing = frozenset(options.get("missing") or ("",))
    columns = [Column(name, missing, types.get(name)) for name in names]
    for batch in _batches(path, delimiter, len(names), skipped):
        for column, cells in zip(columns, batch.columns, strict=True):
            column.look(cells, batch.lines)
    for column in columns:
        column.decide()
    for batch in _batches(path, delimiter, len(names), skipped):
        for column, cells in zip(columns, batch.columns, strict=True):
            column.take(cells)
    return {column.name: column.values() for column in columns}


def _batches(path: Path, delimiter: str, width: int, skipped: int) -> Iterator[Batch]:
    total = 0
    rows = itertools.islice(_rows(path, delimiter), skipped, None)
    while chunk := list(itertools.islice(rows, _BATCH_ROWS)):
        lines, cells = [line for line, _ in chunk], [row for _, row in chunk]
        if set(map(len, cells)) != {width}:
            _refuse_ragged(chunk, width)
        total += len(chunk)
        if total > MAX_ROWS:
            refuse("too_many_rows", f"The file has more than {MAX_ROWS} rows.")
        yield Batch(lines, list(zip(*cells, strict=True)))


def _refuse_ragged(chunk: Iterable[tuple[int, Row]], width: int) -> None:
    line, row = next((line, row) for line, row in chunk if len(row) != width)
    detail = f"Line {line} has {len(row)} cells, but there are {width} columns."
    refuse("ragged_row", detail, hint="Give every line as many cells; quote cells with the delimiter.")


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, Row]]:
    """Yield (line, cells) of every row that is not blank; lines count from 1."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        began = 1
        try:
            for row in reader:
                if len(row) > MAX_COLUMNS:
                    refuse("too_many_columns", f"Line {began} has {len(row)} cells: at most {MAX_COLUMNS} columns.")
                if row:
                    yield began, row
                began = reader.line_num + 1
        except csv.Error as error:
            _refuse_syntax(error, began)


def _refuse_syntax(error: csv.Error, line: int) -> NoReturn:
    if "field larger" in str(error):
        refuse("cell_too_large", f"A cell of the row that begins on line {line} has over {MAX_CELL_BYTES} characters.")
    if "unexpected end" in str(error):
        detail = f"The quote that opens in the row of line {line} is never closed."
        refuse("invalid_csv", detail, hint='Write a quote inside a quoted cell twice: "".')
    refuse("invalid_csv", f"Line {line} is no CSV: {error}.")


def _check_lines(path: Path) -> None:
    """Refuse lines that are too long, hold a NUL or are not UTF-8; sound files pay for a quick look alone."""
    if _looks_sound(path):
        return
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES), b""), 1):
            if len(line) >= MAX_LINE_BYTES:
                refuse("cell_too_large", f"Line {number} is longer than {MAX_LINE_BYTES} bytes.")
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                detail = f"Line {number} is not UTF-8: byte {line[error.start]:#04x} at column {error.start + 1}."
                refuse("invalid_encoding", detail, hint="Save the file as UTF-8.")
            if b"\0" in line:
                refuse("invalid_character", f"Line {number} holds a NUL character.", hint="Is this really a CSV file?")


def _looks_sound(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    since_line_end = 0
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK_BYTES), b""):
            first = block.find(b"\n")
            if since_line_end + (len(block) if first < 0 else first) >= MAX_LINE_BYTES or b"\0" in block:
                return False
            since_line_end = since_line_end + len(block) if first < 0 else len(block) - block.rfind(b"\n")
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return False
    return not decoder.getstate()[0]


def _find_delimiter(path: Path) -> str:
    """Return the delimiter that gives the first lines the same number of cells, and the most."""
    best, width = ",", 1
    for delimiter in _DELIMITERS:
        found = set()
        for row in itertools.islice(_lenient(path, delimiter), _LOOK_ROWS):
            found.add(len(row))
        if len(found) == 1 and (cells := found.pop()) > width:
            best, width = delimiter, cells
    return best


def _lenient(path: Path, delimiter: str) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            yield from filter(None, csv.reader(file, delimiter=delimiter))
        except csv.Error:
            return


def _names(path: Path, delimiter: str, header: bool | None) -> tuple[list[str], int]:
    """Return the names of the columns, and how many rows they take: 1 or 0."""
    first = [cells for _, cells in itertools.islice(_rows(path, delimiter), 2)]
    if not first:
        refuse("empty_dataset", "The file has no rows.")
    cells = first[0]
    if not (_is_header(*first) if header is None else header):
        return [f"column_{number}" for number in range(1, len(cells) + 1)], 0
    names = [cell.strip() or f"column_{number}" for number, cell in enumerate(cells, 1)]
    _check_names(names)
    return names, 1


def _is_header(cells: Row, below: Sequence[str] = ()) -> bool:
    """Names are texts. One that stands there twice may be data, unless numbers follow: then it is a mistake to name."""
    if not all(cell.strip() and not is_number(cell) for cell in cells):
        return False
    return len(set(cells)) == len(cells) or any(map(is_number, below))


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        check_name(name)
    for name in _repeated(names):
        refuse("duplicate_name", f"Two columns are named {shown(name)}.", hint="Give each a name of its own.")


def _repeated(names: Iterable[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            yield name
        seen.add(name)
