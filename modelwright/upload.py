"""Uploads that survive a cut: in parts, each with its checksum; what the service has is not sent again."""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modelwright.errors import InvalidRequest, StateConflict
from modelwright.transport import Transport

PART_BYTES = 16 << 20
_COMPLETE_SECONDS = 360.0  # the service may read a large file for minutes
_POLL_SECONDS = 1.0

Json = dict[str, Any]
Progress = Callable[[int, int], None]


def upload(transport: Transport, file: Path, request: Mapping[str, Any], *, progress: Progress) -> Json:
    """Send ``file`` as the data set that ``request`` describes, and return it.

    The file's sha256 finds an upload that was cut, or the data set itself if it is there already.

    Raises:
        ApiError: the service refused.
        InvalidRequest: ``empty_dataset``.
        ConnectionFailed: no answer, after all retries.
        OSError: the file cannot be read.
    """
    size = file.stat().st_size
    if not size:
        raise InvalidRequest(422, {"code": "empty_dataset", "detail": f"{file} is empty."})
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    body = {**request, "size_bytes": size, "sha256": sha256}
    dataset = transport.post("/v1/datasets", body, idempotency_key=str(uuid.uuid4()))
    if dataset["state"] == "uploading":
        _send_parts(transport, dataset, file, size, progress)
    progress(size, size)
    return dataset if dataset["state"] == "ready" else _complete(transport, dataset["links"]["complete"])


def _send_parts(transport: Transport, dataset: Json, file: Path, size: int, progress: Progress) -> None:
    there = {part["number"]: part["sha256"] for part in transport.get(dataset["links"]["parts"])["data"]}
    with file.open("rb") as opened:
        for number, start in enumerate(range(0, size, PART_BYTES), 1):
            progress(start, size)
            content = opened.read(PART_BYTES)
            digest = hashlib.sha256(content)
            if there.get(number) != digest.hexdigest():
                encoded = base64.b64encode(digest.digest()).decode("ascii")
                headers = {"Content-Type": "application/octet-stream", "Content-Digest": f"sha-256=:{encoded}:"}
                transport.put(f"{dataset['links']['parts']}/{number}", content, headers)


def _complete(transport: Transport, where: str) -> Json:
    """Have the file read; when another call is at it, as after a cut, wait for that one."""
    give_up_at = time.monotonic() + 2 * _COMPLETE_SECONDS
    while True:
        try:
            return transport.post(where, idempotency_key=str(uuid.uuid4()), timeout_seconds=_COMPLETE_SECONDS)
        except StateConflict:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(_POLL_SECONDS)
