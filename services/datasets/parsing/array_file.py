"""NumPy's .npy files, whose header is read by our own strict grammar: it may claim anything."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import MAX_DIMENSIONS
from services.datasets.parsing.refusal import refuse, shown
from services.datasets.parsing.table import Table, Values

MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    r"\{'descr': (?P<descr>'[^']{1,40}'|\[.*\]), 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>[0-9, ]{0,200})\), \} *\n?\Z",
    re.DOTALL,
)
_PLAIN = re.compile(r"'[<>|=](?P<kind>[biuf])(?P<size>1|2|4|8)'\Z")
_MAX_HEADER_BYTES = 1 << 16


def read_npy(path: Path, *, column: str = "x") -> Table:
    """Return the array of a .npy file as one column.

    Raises:
        InvalidRequest: ``invalid_npy``, ``unsupported_dtype`` (objects, records, texts, complex numbers, dates).
    """
    return {column: Values(read_array(path, column))}


def read_array(path: Path, name: str) -> NDArray[Any]:
    """Return the array of a .npy file, its bytes left on the disk; ``name`` is for messages.

    Raises:
        InvalidRequest: as `read_npy`.
    """
    with path.open("rb") as file:
        prefix = file.read(12)
        if len(prefix) < 10 or prefix[:6] != MAGIC:
            refuse("invalid_npy", f"{shown(name)} does not begin as a .npy file does.")
        size_length = 2 if prefix[6] == 1 else 4
        length = int.from_bytes(prefix[8 : 8 + size_length], "little")
        if prefix[6] not in (1, 2, 3) or length > _MAX_HEADER_BYTES:
            refuse("invalid_npy", f"{shown(name)} has a header of version {prefix[6]} and {length} bytes.")
        begins = 8 + size_length
        file.seek(begins)
        header = file.read(length)
    dtype, shape, fortran = _parse(header.decode("latin-1"), name)
    need, have = math.prod(shape) * dtype.itemsize, path.stat().st_size - begins - length
    if need != have:
        detail = f"The header of {shown(name)} claims {list(shape)} of {dtype.name}, {need} bytes, but {have} follow."
        refuse("invalid_npy", detail, hint="Write the file again with numpy.save.")
    if not need:
        return np.zeros(shape, dtype)
    order: Literal["F", "C"] = "F" if fortran else "C"
    array: NDArray[Any] = np.memmap(path, dtype, mode="r", offset=begins + length, shape=shape, order=order)
    return array


def _parse(header: str, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    found = _HEADER.match(header)
    if not found:
        refuse("invalid_npy", f"{shown(name)} has a header that numpy.save does not write.")
    plain = _PLAIN.match(found["descr"]) or (_bool(found["descr"]))
    if not plain:
        what = "Python objects" if found["descr"].strip("'").endswith("O") else found["descr"][:40]
        hint = "Store integers, real numbers or booleans; write texts as a category of numbers."
        refuse("unsupported_dtype", f"{shown(name)} holds {what}.", hint=hint)
    numbers = [int(text[:12]) for text in found["shape"].replace(" ", "").split(",") if text]
    if not numbers:
        refuse("invalid_shape", f"{shown(name)} is a single value, not rows.", hint="Give it a first dimension.")
    if len(numbers) > MAX_DIMENSIONS:
        refuse("invalid_shape", f"{shown(name)} has {len(numbers)} dimensions: at most {MAX_DIMENSIONS}.")
    try:
        return np.dtype(found["descr"].strip("'")), tuple(numbers), found["fortran"] == "True"
    except TypeError:
        refuse("unsupported_dtype", f"{shown(name)} holds {found['descr'][:40]}.")


def _bool(descr: str) -> bool:
    return descr == "'|b1'"
