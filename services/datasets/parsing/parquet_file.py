"""Parquet, through pyarrow: a large C++ library that meets strangers' bytes only behind the walls of the child."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from services.datasets.limits import MAX_CATEGORY_CHARACTERS, MAX_CLASSES, MAX_COLUMNS, MAX_ROWS
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, Values


def read_parquet(path: Path) -> Table:
    """Return the columns of a Parquet file: numbers, booleans, texts, dates, and lists of numbers of one length.

    Raises:
        InvalidRequest: ``invalid_parquet``, ``unsupported_dtype``, ``too_many_columns``, ``too_many_rows``,
            ``duplicate_name``, ``ragged_row``.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            _check(schema, file.metadata.num_rows)
            return {name: _values(name, file.read([name], use_threads=False).column(0)) for name in schema.names}
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        refuse("invalid_parquet", f"The file is no sound Parquet file: {str(error).splitlines()[0][:200]}")


def _check(schema: pa.Schema, rows: int) -> None:
    if len(schema.names) > MAX_COLUMNS:
        refuse("too_many_columns", f"{len(schema.names)} columns are too many: at most {MAX_COLUMNS}.")
    if rows > MAX_ROWS:
        refuse("too_many_rows", f"{rows} rows are too many: at most {MAX_ROWS}.")
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        refuse("duplicate_name", f"Two columns are named {shown(twice)}.", hint="Give each a name of its own.")


def _values(name: str, column: pa.ChunkedArray) -> Values:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _texts(column.cast(pa.large_string()))
    if pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind)):
        return Values(_numbers(_seconds(column)))
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return Values(_lists(name, column))
    if pa.types.is_decimal(kind):
        column, kind = column.cast(pa.float64()), pa.float64()
    if not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        _refuse_type(name, kind)
    return Values(_numbers(column))


def _refuse_type(name: str, kind: pa.DataType) -> None:
    hint = "Use numbers, booleans, texts, dates, or lists of numbers; leave other columns out."
    refuse("unsupported_dtype", f"Column {shown(name)} has the type {shown(str(kind))}.", hint=hint)


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a NumPy array; a column with nulls becomes float64 with NaN."""
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
    if column.null_count:
        column = pc.fill_null(column, np.nan)
    array: NDArray[Any] = column.to_numpy()
    return array


def _seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return dates and times as seconds since 1970, UTC, to the microsecond."""
    zone = getattr(column.type, "tz", None)
    micros = column.cast(pa.timestamp("us", tz=zone)).cast(pa.int64())
    return pc.divide(micros.cast(pa.float64(), safe=False), 1e6)


def _texts(column: pa.ChunkedArray) -> Values:
    distinct = [text for text in pc.unique(column).to_pylist() if text is not None]
    if len(distinct) <= MAX_CLASSES and all(len(text) <= MAX_CATEGORY_CHARACTERS for text in distinct):
        names = sorted(distinct)
        codes = pc.index_in(column, value_set=pa.array(names, type=pa.large_string()), skip_nulls=True)
        array = pc.fill_null(codes.cast(pa.int64()), -1).to_numpy()
        return Values(array, "category", tuple(names))
    whole = pc.fill_null(column, "").combine_chunks()
    binary = whole.cast(pa.large_binary())
    lengths = pc.binary_length(binary).to_numpy()
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    content = b"".join(binary.to_pylist())
    return Values(np.frombuffer(content, dtype=np.uint8), "text", offsets=offsets)


def _lists(name: str, column: pa.ChunkedArray) -> NDArray[Any]:
    item = column.type.value_type
    if not (pa.types.is_integer(item) or pa.types.is_floating(item) or pa.types.is_boolean(item)):
        refuse("unsupported_dtype", f"Column {shown(name)} holds lists of {item}.", hint="Use lists of numbers.")
    lengths = pc.list_value_length(column).to_numpy()
    if column.null_count or len(np.unique(lengths)) > 1:
        row = int(np.argmax(np.isnan(lengths.astype(np.float64)) | (lengths != lengths[0])))
        detail = f"Column {shown(name)}, row {row}: its list has another length than the first."
        refuse("ragged_row", detail, hint="Give every row as many values.")
    flat = _numbers(pc.list_flatten(column))
    return flat.reshape(len(column), -1)
