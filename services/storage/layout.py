"""Where a file is cut into chunks: at tensor boundaries, so that a tensor that did not change is stored once.

Of a safetensors file the header is apart, whose metadata change with each step, and so is each tensor (or each MiB of
it); tiny neighbours share a chunk, for one costs some 300 bytes of rows. A small file is one chunk.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.storage.chunks import MAX_CHUNK_BYTES, ChunkRef

_OWN_CHUNK_BYTES = 4 << 10
"""A tensor at least this large has chunks of its own; smaller neighbours share one."""
_WHOLE_FILE_BYTES = 64 << 10
_METADATA = b'{"__metadata__":'
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
    if path.suffix != ".safetensors" or size <= _WHOLE_FILE_BYTES:
        return [0, size]
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    if not header:
        return [0, size]
    cuts = {0, size, 8 + length}
    if metadata := _metadata_end(header):
        cuts.add(8 + metadata)
    last = 8 + length
    for start, end in _tensor_spans(header):
        if end - start >= _OWN_CHUNK_BYTES or end - last > MAX_CHUNK_BYTES:
            cuts.add(start)
            last = start
        if end - start >= _OWN_CHUNK_BYTES:
            cuts.add(end)
            last = end
    return sorted(cuts)


def _metadata_end(header: bytes) -> int:
    """Return where the metadata ends, when a long header begins with it: what follows is the same at every step."""
    if len(header) < _OWN_CHUNK_BYTES or not header.startswith(_METADATA):
        return 0
    text = header.decode()
    _, end = json.JSONDecoder().raw_decode(text, len(_METADATA))
    return len(text[:end].encode())


def _tensor_spans(header: bytes) -> list[tuple[int, int]]:
    """Return the byte span of each tensor in the file, in order (the safetensors format, version 1)."""
    data = 8 + len(header)
    offsets = [entry["data_offsets"] for name, entry in json.loads(header).items() if name != "__metadata__"]
    return sorted((data + start, data + end) for start, end in offsets)
