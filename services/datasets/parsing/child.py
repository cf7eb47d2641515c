"""What runs in the child: one file in, one file of columns and a description out, or the problems."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from services.datasets.limits import MAX_HEADER_BYTES
from services.datasets.parsing.profile import profile
from services.datasets.parsing.refusal import UNSUPPORTED, refuse
from services.datasets.parsing.table import Table, checked, write_table
from services.errors import InvalidRequest, Problem

UNREADABLE = "invalid_file"
SOURCE, PREPARED = "source", "prepared.safetensors"
_HEAD_BYTES = 512
_TARGETS = ("label", "target", "y")  # else the last column
_PICKLE_PROTOCOLS = range(2, 6)
_ZIP = b"PK\x03\x04"
_LOOKS = ((b"PAR1", "Parquet"), (_ZIP, "a zip archive"), (b"\x93NUMPY", "a .npy file"), (b"\x89PNG", "a PNG"))


class Line(Protocol):
    """Where the answer goes."""

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event."""


def run(payload: Mapping[str, Any], line: Line) -> int:
    """Read ``source`` in the folder and leave ``prepared.safetensors`` there; answer ``table`` or ``problems``.

    The payload has ``folder``, ``format``, ``options`` and ``max_bytes``, the limit of what may be inflated.
    """
    try:
        line.emit({"table": prepare(Path(payload["folder"]), payload)})
    except InvalidRequest as error:
        line.emit({"problems": [problem.to_dict() for problem in error.problems]})
    except MemoryError:
        detail = "Reading this file takes more memory than a reader may have."
        line.emit({"problems": [Problem("too_large", detail, hint="Split the file.").to_dict()]})
    except Exception as error:  # noqa: BLE001 - what no reader foresaw is the file's fault all the same
        traceback.print_exc()
        detail = f"The file cannot be read as {payload['format']} ({type(error).__name__})."
        line.emit({"problems": [Problem(UNREADABLE, detail, hint="Write it again with another program.").to_dict()]})
    return 0


def prepare(folder: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return rows, columns, statistics, preview and sha256 of the prepared file.

    Raises:
        InvalidRequest: the file is not as it must be.
    """
    source = folder / SOURCE
    _look_at_head(source, request["format"], request["options"])
    table = checked(_READERS[request["format"]](source, folder, request))
    described = {name: values.describe() for name, values in table.items()}
    inputs, target = _roles(table, request["options"])
    return {
        "rows": next(iter(table.values())).rows,
        "columns": described,
        "inputs": inputs,
        "target": target,
        "profile": profile(table),
        "sha256": write_table(folder / PREPARED, table),
    }


def _roles(table: Table, options: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return which columns a model sees and predicts, if a job does not say."""
    usable = [name for name, values in table.items() if values.kind != "text"] or list(table)
    for name in [*(options.get("inputs") or ()), *([options["target"]] if options.get("target") else ())]:
        if name not in table:
            refuse(
                "unknown_column", f"There is no column {name[:80]!r}.", hint=f"Known: {', '.join(list(table)[:40])}."
            )
    likely = [name for name in _TARGETS if name in usable]
    target = options.get("target") or (likely or usable[-1:])[0]
    images = [name for name in usable if table[name].kind == "image"]
    inputs = options.get("inputs") or images or [name for name in usable if name != target] or [target]
    return list(inputs), target


def _look_at_head(source: Path, kind: str, options: Mapping[str, Any]) -> None:
    with source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if options.get("unit") != "byte" and _is_pickle(head, kind):
        hint = "Send .npy, .npz, safetensors, Parquet or CSV: pickles can run code, so they are never read."
        refuse(UNSUPPORTED, "The file is a pickle.", hint=hint)
    looks = next((name for magic, name in _LOOKS if head.startswith(magic)), None)
    if looks and kind in ("csv", "text"):
        refuse("invalid_encoding", f"The file is not {kind}: it looks like {looks}.", hint="Name its format.")


def _is_pickle(head: bytes, kind: str) -> bool:
    """Whether a file begins as `pickle.dump` or `torch.save` write; sound safetensors may begin with the same bytes."""
    if head.startswith(_ZIP):
        return b"/data.pkl" in head
    begins = len(head) > 1 and head[0] == 0x80 and head[1] in _PICKLE_PROTOCOLS
    return begins and not (kind == "safetensors" and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES)


def _read_csv(source: Path, _: Path, request: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.csv_file import read_csv  # noqa: PLC0415 - each format imports what it needs alone

    return read_csv(source, request["options"])


def _read_npy(source: Path, _: Path, __: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.array_file import read_npy  # noqa: PLC0415

    return read_npy(source)


def _read_npz(source: Path, folder: Path, request: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.tensor_files import read_npz  # noqa: PLC0415

    return read_npz(source, folder=folder, max_bytes=request["max_bytes"])


def _read_safetensors(source: Path, _: Path, __: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.tensor_files import read_safetensors  # noqa: PLC0415

    return read_safetensors(source)


def _read_parquet(source: Path, _: Path, __: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.parquet_file import read_parquet  # noqa: PLC0415

    return read_parquet(source)


def _read_images(source: Path, folder: Path, request: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.image_folder import read_images  # noqa: PLC0415

    return read_images(source, request["options"], folder=folder, max_bytes=request["max_bytes"])


def _read_text(source: Path, _: Path, request: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.text_file import read_text  # noqa: PLC0415

    return read_text(source, request["options"])


def _read_inline(source: Path, _: Path, __: Mapping[str, Any]) -> Table:
    from services.datasets.parsing.inline import read_inline  # noqa: PLC0415

    return read_inline(source)


_READERS: dict[str, Callable[[Path, Path, Mapping[str, Any]], Table]] = {
    "csv": _read_csv,
    "npy": _read_npy,
    "npz": _read_npz,
    "safetensors": _read_safetensors,
    "parquet": _read_parquet,
    "images": _read_images,
    "text": _read_text,
    "json": _read_inline,
}
