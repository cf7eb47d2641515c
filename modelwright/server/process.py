"""One child process of the all-in-one service: started with a log file, stopped in good order, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LAUNCHER = Path(__file__).with_name("launch.py")
_POLL_SECONDS = 0.01
_TAIL_BYTES = 4096


class ServerError(Exception):
    """A server could not be started; the message says which, why, and where its log is."""


@dataclass(frozen=True, slots=True)
class Account:
    """A system account, by number."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Command:
    """What to run and how it ends: signals are numbers, ``standard_input`` is written once and closed."""

    name: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    directory: Path | None = None
    stop_signal: int = signal.SIGTERM
    death_signal: int = signal.SIGKILL
    account: Account | None = None
    standard_input: bytes = b""

    def launched(self) -> list[str]:
        """Return the command line that goes through ``launch.py``."""
        who = ("-", "-") if self.account is None else (str(self.account.uid), str(self.account.gid))
        prefix = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(self.death_signal)), *who]
        return [*prefix, *self.arguments]


class Process:
    """A running (or ended) command in a session of its own, so that Ctrl-C reaches only us and we stop in order."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while there is one."""
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended. What is left of an ended one's group is killed."""
        if self._child is None or self._child.returncode is not None:
            return False
        if self._child.poll() is None:
            return True
        self._kill_group()  # now: a process id may be given to somebody else later
        return False

    @property
    def returncode(self) -> int | None:
        """The exit status of an ended process (negative: a signal), else ``None``."""
        return self._child.returncode if self._child and not self.running else None

    def start(self) -> None:
        """Start the command; its output is appended to the log."""
        command = self.command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                command.launched(),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(command.environment),
                cwd=command.directory,
                start_new_session=True,
            )
        if self._child.stdin:
            with suppress(BrokenPipeError), self._child.stdin as pipe:
                pipe.write(command.standard_input)

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the end; return the exit status, or ``None`` when the time is up."""
        deadline = time.monotonic() + timeout_seconds
        while self.running:
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_SECONDS)
        return self.returncode

    def stop(self, timeout_seconds: float) -> bool:
        """Ask politely, then kill the whole group; return whether asking was enough."""
        self.signal(self.command.stop_signal)
        ended = self.wait(timeout_seconds) is not None
        self.kill()
        return ended

    def signal(self, number: int) -> None:
        """Send a signal to the process (not to its group)."""
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """Kill the process and its group at once (SIGKILL), and reap it."""
        if self._child is not None and self.running:
            self._kill_group()
            self._child.wait()

    def log_tail(self) -> str:
        """Return the last lines of the log, for an error message."""
        return log_tail(self.command.log)

    def _kill_group(self) -> None:
        if self._child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)


def log_tail(log: Path) -> str:
    """Return the last lines of ``log``, for an error message."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-8:])
    return ""
