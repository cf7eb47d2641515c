"""Lines of JSON over a socket: how the owner and the child talk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_LINE_BYTES = 64 << 20


def encode(message: Mapping[str, Any]) -> bytes:
    """Return ``message`` as one line; NaN and infinities as Python's ``json`` writes them."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class LineTooLong(Exception):
    """The other side sent more than ``MAX_LINE_BYTES`` without a line end."""


class LineDecoder:
    """Puts messages together from the pieces that arrive. What is no JSON object is dropped and counted."""

    def __init__(self) -> None:
        self.garbage_lines = 0
        self._tail = bytearray()

    def feed(self, piece: bytes) -> list[dict[str, Any]]:
        """Return the messages that ``piece`` completes.

        Raises:
            LineTooLong: what is waiting for its line end has grown beyond the limit.
        """
        self._tail += piece
        if b"\n" not in piece:
            if len(self._tail) > MAX_LINE_BYTES:
                raise LineTooLong
            return []
        *lines, rest = bytes(self._tail).split(b"\n")
        self._tail = bytearray(rest)
        return [message for message in map(self._parse, lines) if message is not None]

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict):
            return message
        self.garbage_lines += 1
        return None
