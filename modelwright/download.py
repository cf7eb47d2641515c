"""Downloads that survive a cut: into a temporary file, continued by Range, checked by sha256, then renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelwright.errors import ConnectionFailed, DownloadCorrupt, InvalidRequest
from modelwright.transport import RetryPolicy, Transport

Progress = Callable[[int, int], None]
"""Called with the number of bytes that are here and the number of all bytes."""

_PARTIAL = 206
_OUT_OF_RANGE = 416


def download(
    transport: Transport, checkpoint: Mapping[str, Any], target: Path, *, progress: Progress, retries: RetryPolicy
) -> Path:
    """Store the content of ``checkpoint`` (its view, or that of an export with its ``id``) as ``target``; return it.

    What an earlier, interrupted call left beside it is continued. ``target`` appears whole or not at all.

    Raises:
        DownloadCorrupt: the bytes do not have the promised sha256; they are removed.
        ConnectionFailed: no more bytes came, after all retries; what is here stays for the next call.
        ApiError: the service refused.
        OSError: the file cannot be written.
    """
    part = target.with_name(f".{target.name}.{checkpoint['sha256'][:12]}.part")
    for last in (False, True):
        _fetch(transport, checkpoint, part, progress, retries)
        if _sha256(part) == checkpoint["sha256"]:
            break
        part.unlink()  # once more from the start: the piece from an earlier call may have been the bad one
        if last:
            raise DownloadCorrupt(f"{checkpoint['id']} does not have the sha256 that the service promised.")
    _sync(part)
    part.replace(target)
    return target


def _fetch(
    transport: Transport, checkpoint: Mapping[str, Any], part: Path, progress: Progress, retries: RetryPolicy
) -> None:
    """Fill ``part`` up to the full size; attempts that bring bytes are free, the others are counted."""
    failures, total = 0, int(checkpoint["size_bytes"])
    part.touch()
    while (present := part.stat().st_size) != total:
        try:
            _fetch_rest(transport, checkpoint, part, progress)
        except ConnectionFailed:
            failures = 1 if part.stat().st_size > present else failures + 1
            if failures >= retries.attempts:
                raise
            retries.pause(failures - 1)
        except InvalidRequest as error:
            if error.status != _OUT_OF_RANGE:
                raise
            part.write_bytes(b"")


def _fetch_rest(transport: Transport, checkpoint: Mapping[str, Any], part: Path, progress: Progress) -> None:
    """Make one request for the bytes that are missing, and append what comes."""
    present, total = part.stat().st_size, int(checkpoint["size_bytes"])
    headers = {"Accept-Encoding": "identity"}
    if 0 < present < total:
        headers |= {"Range": f"bytes={present}-", "If-Range": f'"{checkpoint["sha256"]}"'}
    format = f"?format={checkpoint['format']}" if "format" in checkpoint else ""
    with transport.stream(f"/v1/checkpoints/{checkpoint['id']}/content{format}", headers) as answer:
        continues = answer.status_code == _PARTIAL
        with part.open("ab" if continues else "wb") as file:
            have = present if continues else 0
            for block in answer.iter_raw():
                file.write(block)
                have += len(block)
                progress(have, total)
    if have != total:
        raise ConnectionFailed(f"The download ended after {have} of {total} bytes.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
