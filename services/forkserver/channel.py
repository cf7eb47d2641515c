"""The child's end of the conversation with its owner."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from services.forkserver.lines import LineDecoder, encode

_READ_BYTES = 1 << 16


class Channel:
    """Sends events to the owner and reads its commands. ``emit`` may be called from any thread.

    ``isolation`` names the walls that were really put up round this process.
    """

    def __init__(self, connection: socket.socket, isolation: Sequence[str] = ()) -> None:
        self.isolation = tuple(isolation)
        self._connection = connection
        self._decoder = LineDecoder()
        self._waiting: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Send one event; waits while the owner is too busy to read.

        Raises:
            OSError: the owner is gone (and this process about to be killed).
        """
        line = encode(event)
        with self._lock:
            self._connection.sendall(line)

    def poll(self) -> list[dict[str, Any]]:
        """Return the commands that have arrived, without waiting."""
        messages, self._waiting = self._waiting, []
        try:
            while piece := self._connection.recv(_READ_BYTES, socket.MSG_DONTWAIT):
                messages += self._decoder.feed(piece)
        except BlockingIOError:
            pass
        return messages

    def read_payload(self) -> dict[str, Any]:
        """Wait for the first message: what the child was started for.

        Raises:
            EOFError: the owner went away first.
        """
        while not self._waiting:
            piece = self._connection.recv(_READ_BYTES)
            if not piece:
                raise EOFError("the owner closed the channel before it sent the payload")
            self._waiting += self._decoder.feed(piece)
        return self._waiting.pop(0)
