"""Plain text: one row a character, or a byte, as codes of a vocabulary; windows over it are a job's matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.datasets.limits import MAX_ROWS
from services.datasets.parsing.refusal import refuse
from services.datasets.parsing.table import Table, Values

_READ_CHARACTERS = 1 << 20
_MAX_VOCABULARY = 0x10000


def read_text(path: Path, options: Mapping[str, Any]) -> Table:
    """Return the column ``character`` (codes in the order of Unicode) or ``byte``.

    Raises:
        InvalidRequest: ``invalid_encoding`` with the line, ``invalid_character``, ``too_many_rows``,
            ``too_many_classes``, ``empty_dataset``.
    """
    if options.get("unit") == "byte":
        return {"byte": _bytes(path)}
    codes = np.concatenate([np.zeros(0, np.uint32), *_points(path)])
    if not len(codes):
        refuse("empty_dataset", "The file has no characters.")
    found, indices = np.unique(codes, return_inverse=True)
    if len(found) > _MAX_VOCABULARY:
        refuse("too_many_classes", f"{len(found)} different characters are too many: at most {_MAX_VOCABULARY}.")
    width = np.uint8 if len(found) <= 256 else np.int32
    return {"character": Values(indices.astype(width), "token", tuple(chr(code) for code in found.tolist()))}


def _bytes(path: Path) -> Values:
    if path.stat().st_size > MAX_ROWS:
        refuse("too_many_rows", f"The file has more than {MAX_ROWS} bytes.")
    content = np.fromfile(path, dtype=np.uint8)
    if not len(content):
        refuse("empty_dataset", "The file has no bytes.")
    return Values(content, "token", tuple(f"0x{code:02x}" for code in range(256)))


def _points(path: Path) -> Iterator[NDArray[np.uint32]]:
    """Yield code points, a MiB of them at a time."""
    lines = total = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            while text := file.read(_READ_CHARACTERS):
                if "\0" in text:
                    line = lines + text[: text.index("\0")].count("\n") + 1
                    refuse("invalid_character", f"Line {line} holds a NUL character.", hint="Is this really text?")
                lines, total = lines + text.count("\n"), total + len(text)
                if total > MAX_ROWS:
                    refuse("too_many_rows", f"The file has more than {MAX_ROWS} characters.")
                yield np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    except UnicodeDecodeError:
        detail = f"The file is not UTF-8, from line {_bad_line(path)} on."
        refuse("invalid_encoding", detail, hint='Save it as UTF-8, or take bytes: {"unit": "byte"}.')


def _bad_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(_READ_CHARACTERS), b""), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
