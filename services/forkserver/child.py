"""The owner's end of one forked child."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from services.forkserver.isolation import signal_group
from services.forkserver.lines import LineDecoder, LineTooLong, encode

_READ_BYTES = 1 << 18
_MAX_READS = 64  # one call returns after this many pieces, however fast the child writes


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: an exit code, or the signal that killed it."""

    code: int | None
    signal: int | None


class Child:
    """A running child. One thread at a time; ``close`` it when done (this kills what still runs)."""

    def __init__(self, pid: int, connection: socket.socket, exit_fd: int) -> None:
        self.pid = pid
        self.ended = False
        self._connection = connection
        self._exit_fd = exit_fd
        self._exit: Exit | None = None
        self._decoder = LineDecoder()
        self._closed = False
        connection.setblocking(False)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def garbage_lines(self) -> int:
        """How many lines the child sent that were no JSON object; they are dropped."""
        return self._decoder.garbage_lines

    def fileno(self) -> int:
        """Return a descriptor that is readable when an event, or the end, is there."""
        return self._connection.fileno()

    def send(self, message: Mapping[str, Any], timeout_seconds: float = 10.0) -> None:
        """Send one command. To a child that has ended this does nothing.

        Raises:
            TimeoutError: the child reads nothing.
        """
        self._connection.settimeout(timeout_seconds)
        try:
            self._connection.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return
        finally:
            self._connection.setblocking(False)

    def receive(self, timeout_seconds: float = 0.0) -> list[dict[str, Any]]:
        """Return the events that are there, waiting at most ``timeout_seconds`` for the first; [] on timeout or end."""
        if self.ended or not _readable(self.fileno(), timeout_seconds):
            return []
        events: list[dict[str, Any]] = []
        try:
            for _ in range(_MAX_READS):
                piece = self._connection.recv(_READ_BYTES)
                if not piece:
                    self.ended = True
                    break
                events += self._decoder.feed(piece)
        except BlockingIOError:
            pass
        except (ConnectionResetError, LineTooLong):
            self.kill()
            self.ended = True
        return events

    def wait(self, timeout_seconds: float | None = None) -> Exit | None:
        """Return how the child ended, or None if it still runs after ``timeout_seconds`` (None: wait for ever)."""
        if self._exit is None and _readable(self._exit_fd, timeout_seconds):
            said = os.read(self._exit_fd, 1024)
            # Silence means that the server is gone, and its children die with it.
            members = json.loads(said) if said else {"signal": int(signal.SIGKILL)}
            self._exit = Exit(members.get("code"), members.get("signal"))
        return self._exit

    def kill(self) -> None:
        """Kill the child and all that it started."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the child to end (SIGTERM)."""
        self._signal(signal.SIGTERM)

    def pause(self) -> None:
        """Stop the child where it is."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused child go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Let go of the child; the server kills and reaps it."""
        if not self._closed:
            self._closed = True
            self.ended = True
            self._connection.close()
            os.close(self._exit_fd)

    def _signal(self, number: int) -> None:
        # The server reaps only after close(), so until then the pid is this child's and nobody else's.
        if not self._closed:
            signal_group(self.pid, number)


def _readable(fd: int, timeout_seconds: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_seconds is None else max(0.0, timeout_seconds * 1000)))
