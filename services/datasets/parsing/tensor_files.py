"""Files of several named arrays: .npz and safetensors."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import MAX_COLUMNS, MAX_DIMENSIONS, MAX_HEADER_BYTES
from services.datasets.parsing import archive
from services.datasets.parsing.array_file import read_array
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, Values

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}


def read_npz(path: Path, *, folder: Path, max_bytes: int) -> Table:
    """Return each array of an .npz file as a column; members are inflated into ``folder``.

    Raises:
        InvalidRequest: as `archive.opened` and `array_file.read_npy`.
    """
    table: Table = {}
    with archive.opened(path, max_bytes=max_bytes) as opened:
        if len(opened.members) > MAX_COLUMNS:
            refuse("too_many_columns", f"{len(opened.members)} arrays are too many: at most {MAX_COLUMNS}.")
        for number, member in enumerate(opened.members):
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                refuse("invalid_npz", f"The member {shown(name)} is no .npy array.", hint="Write with numpy.savez.")
            if name in table:
                refuse("duplicate_name", f"Two arrays are named {shown(name)}.")
            target = folder / f"member-{number}.npy"
            opened.extract(member, target)
            table[name] = Values(read_array(target, name))
    return table


def read_safetensors(path: Path) -> Table:
    """Return each tensor of a safetensors file (https://github.com/huggingface/safetensors) as a column.

    Raises:
        InvalidRequest: ``invalid_weights``, ``unsupported_dtype``.
    """
    header, begins = _header(path)
    members = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(members) > MAX_COLUMNS:
        refuse("too_many_columns", f"{len(members)} tensors are too many: at most {MAX_COLUMNS}.")
    table: Table = {}
    spans = []
    for name, entry in members.items():
        dtype, shape, start, end = _entry(name, entry)
        if math.prod(shape) * dtype.itemsize != end - start:
            _broken(f"{shown(name)} is {list(shape)} of {entry['dtype']}, but takes {end - start} bytes")
        spans.append((start, end))
        if begins + end > path.stat().st_size:
            _broken(f"{shown(name)} ends after the end of the file")
        table[name] = Values(_mapped(path, dtype, shape, begins + start, entry["dtype"]))
    _check_spans(sorted(spans), path.stat().st_size - begins)
    return table


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size):
            _broken(f"its header claims {length} bytes: at most {MAX_HEADER_BYTES}")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        _broken(f"its header is not JSON: {error}")
    if not isinstance(header, dict) or len(text) < length:
        _broken("its header is not whole")
    return header, 8 + length


def _entry(name: str, entry: object) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _broken(f"{shown(name)} is not described by dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    sound = all(
        isinstance(part, list) and all(type(one) is int and one >= 0 for one in part) for part in (shape, offsets)
    )
    if not sound or len(offsets) != 2 or offsets[0] > offsets[1]:
        _broken(f"{shown(name)} has an impossible shape or place")
    if not 1 <= len(shape) <= MAX_DIMENSIONS:
        refuse("invalid_shape", f"{shown(name)} has {len(shape)} dimensions: 1 to {MAX_DIMENSIONS}, rows first.")
    if entry["dtype"] not in _DTYPES:
        hint = f"Use one of {', '.join(_DTYPES)}."
        refuse("unsupported_dtype", f"{shown(name)} has the dtype {shown(str(entry['dtype']))}.", hint=hint)
    return np.dtype(_DTYPES[entry["dtype"]]), tuple(shape), offsets[0], offsets[1]


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, name: str) -> NDArray[Any]:
    if 0 in shape:
        return np.zeros(shape, np.float32 if name == "BF16" else dtype)
    array: NDArray[Any] = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    if name == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def _check_spans(spans: list[tuple[int, int]], size_bytes: int) -> None:
    at = 0
    for start, end in spans:
        if start != at:
            _broken("its tensors overlap or leave holes")
        at = end
    if at != size_bytes:
        _broken(f"its tensors end at byte {at} of {size_bytes}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name stands there twice")
    return made


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _broken(why: str) -> NoReturn:
    refuse("invalid_weights", f"The file is no sound safetensors file: {why}.")
    raise AssertionError
