"""What the children of these tests do: no torch, so that they start at once."""

from __future__ import annotations

import os
import time
from typing import Any


def serve(subject: dict[str, Any], channel: Any) -> int:
    """Answer as a warm child does: count the requests, or do what one asks for."""
    if subject.get("refuse"):
        channel.emit({"problems": [{"code": "invalid_argument", "detail": "no"}]})
        return 0
    channel.emit({"ready": True})
    count = 0
    while True:
        try:
            request = channel.read_payload()
        except EOFError:
            return 0
        count += 1
        if request.get("refuse"):  # problems are an answer's last event: no end follows them
            channel.emit({"problems": [{"code": "out_of_range", "detail": "no"}]})
            continue
        do(request, channel)
        channel.emit({"end": {"pid": os.getpid(), "count": count, "model": subject["model"]}})


def do(request: dict[str, Any], channel: Any) -> None:
    for _ in range(request.get("blocks", 0)):
        channel.emit({"block": ["x" * 100_000]})
        time.sleep(request.get("pause", 0.0))
    if request.get("die"):
        os._exit(3)
    time.sleep(request.get("sleep", 0.0))
