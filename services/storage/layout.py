"""Where a file is cut into chunks: at tensor boundaries, so that a tensor that did not change costs nothing twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.storage.chunks import MAX_CHUNK_BYTES, ChunkRef

_OWN_CHUNK_BYTES = 64 << 10
"""A tensor at least this large starts a chunk of its own; smaller neighbours share one."""
MAX_HEADER_BYTES = 1 << 20


def chunk_refs(path: Path) -> list[ChunkRef]:
    """Return the chunks of a file, in order, hashed."""
    with path.open("rb") as file:
        return [_hashed(file.read(size), offset) for offset, size in _spans(path)]


def read_span(path: Path, ref: ChunkRef) -> bytes:
    """Return one chunk's bytes from the file."""
    with path.open("rb") as file:
        file.seek(ref.offset_bytes)
        return file.read(ref.size_bytes)


def parse_header(head: bytes) -> dict[str, Any] | None:
    """Return the header of a safetensors file from its first bytes, or None if they are not all there yet."""
    if len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head[:8])
    if len(head) < 8 + length:
        return None
    header: dict[str, Any] = json.loads(head[8 : 8 + length])
    return header


def _hashed(data: bytes, offset: int) -> ChunkRef:
    return ChunkRef(hashlib.sha256(data).digest(), offset, len(data))


def _spans(path: Path) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of every chunk: cuts at the boundaries, and at least every 1 MiB."""
    cuts = _boundaries(path)
    for start, end in itertools.pairwise(cuts):
        for offset in range(start, end, MAX_CHUNK_BYTES):
            yield offset, min(MAX_CHUNK_BYTES, end - offset)


def _boundaries(path: Path) -> list[int]:
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return [0, size]
    cuts = [0]
    for start, end in _tensor_spans(path):
        if end - start >= _OWN_CHUNK_BYTES or end - cuts[-1] > MAX_CHUNK_BYTES:
            cuts.append(start)
        if end - start >= _OWN_CHUNK_BYTES:
            cuts.append(end)
    return sorted({*cuts, size})


def _tensor_spans(path: Path) -> list[tuple[int, int]]:
    """Return the byte span of the header, then of each tensor, in file order (the safetensors format, version 1)."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > MAX_HEADER_BYTES:
            return []
        header = json.loads(file.read(length))
    data = 8 + length
    offsets = [entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"]
    return [(0, data), *sorted((data + start, data + end) for start, end in offsets)]
