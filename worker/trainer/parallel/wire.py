"""How the processes of one job talk beside their sums: lines of JSON over socket pairs made before the fork."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import Any

from services.forkserver.lines import LineDecoder, encode

_READ_BYTES = 1 << 16


class Gone(Exception):
    """The process at the other end has ended."""


class Wire:
    """One end of the line between the first process and another one. One thread sends and one receives."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._decoder = LineDecoder()
        self._waiting: list[dict[str, Any]] = []

    def fileno(self) -> int:
        """Return a descriptor that is readable when a message, or the end, is there."""
        return self._connection.fileno()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message.

        Raises:
            Gone: nobody is there to read it.
        """
        try:
            self._connection.sendall(encode(message))
        except OSError:
            raise Gone from None

    def receive(self) -> dict[str, Any]:
        """Wait for the next message.

        Raises:
            Gone: there will be none.
        """
        while not self._waiting:
            try:
                piece = self._connection.recv(_READ_BYTES)
            except OSError:
                piece = b""
            if not piece:
                raise Gone
            self._waiting += self._decoder.feed(piece)
        return self._waiting.pop(0)

    def wait_for_end(self) -> None:
        """Return when the process at the other end has ended, whatever it still says."""
        try:
            while True:
                self.receive()
        except Gone:
            return

    def has_more(self) -> bool:
        """Tell whether ``receive`` would return, or raise, at once."""
        return bool(self._waiting) or bool(select.select([self._connection], [], [], 0)[0])

    def close(self) -> None:
        """Let go of this end."""
        self._connection.close()
