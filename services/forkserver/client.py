"""The owner's handle on its fork server: start it, ask it for children, restart it when it died."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.errors import Unavailable
from services.forkserver.child import Child
from services.forkserver.isolation import clean_environment
from services.forkserver.limits import Limits

_READY_TIMEOUT_SECONDS = 120.0  # importing torch on a cold, busy disk
_REPLY_TIMEOUT_SECONDS = 20.0
_REPLY_BYTES = 4096
# No thread pool may exist when the server forks; a child that wants more threads asks for them itself.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_ONE_THREAD |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
_servers: weakref.WeakSet[ForkServer] = weakref.WeakSet()


class _Gone(Exception):
    """The server's end of the control socket is closed."""


class ForkServer:
    """Forks children that have ``preload`` imported already. Safe to use from several threads.

    An entry of ``preload`` is a module, or ``module:function`` to call once it is imported; neither may leave a thread.
    The server knows of the environment only what ``clean_environment`` lets through, and ``environment``. A forked
    copy of the owner starts a server of its own.
    """

    def __init__(self, *, preload: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._preload = tuple(preload)
        self._environment = dict(environment or {})
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: dict[str, Any] | None = None
        _servers.add(self)

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when none was started."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server unless it runs, without waiting for its imports; ``spawn`` waits."""
        with self._lock:
            self._start()

    def ready_within(self, seconds: float) -> bool:
        """Start the server if need be, and tell whether its imports are done after at most so many seconds.

        Raises:
            Unavailable: it died while importing.
        """
        with self._lock:
            self._start()
            control = self._control
            if self._ready is not None or control is None:
                return True
        # Without the lock: whoever only wants to know must not keep others from asking. The end is readable, too.
        poll = select.poll()
        poll.register(control, select.POLLIN)
        return bool(poll.poll(seconds * 1000)) and bool(self.wait_ready())

    def wait_ready(self) -> dict[str, Any]:
        """Start the server if need be, wait for its imports, and return what it says of itself.

        Raises:
            Unavailable: it died while importing.
        """
        with self._lock:
            try:
                return self._wait_ready()
            except _Gone:
                raise self._unavailable("The fork server died while importing its modules.") from None

    def spawn(
        self,
        target: str,
        payload: Mapping[str, Any],
        *,
        limits: Limits | None = None,
        directory: Path | None = None,
        log: Path | None = None,
    ) -> Child:
        """Fork a child that runs ``target`` ("package.module:function") as ``function(payload, channel) -> int``.

        ``directory`` becomes its working directory, HOME and TMPDIR; what it prints is appended to ``log``.

        Raises:
            Unavailable: there is no server and none can be started, or the machine has no room for a process.
        """
        request = {
            "target": target,
            "limits": (limits or Limits()).to_dict(),
            "directory": str(directory.resolve()) if directory else None,
        }
        with self._lock:
            try:
                child = self._fork(request, log)
            except _Gone:  # it was killed since: a new one, once
                self._stop()
                try:
                    child = self._fork(request, log)
                except _Gone:
                    raise self._unavailable("The fork server does not start.") from None
        child.send(payload, timeout_seconds=_REPLY_TIMEOUT_SECONDS)
        return child

    def close(self) -> None:
        """End the server and every child that still runs."""
        with self._lock:
            self._stop()

    def _start(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._stop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**clean_environment(os.environ), **_ONE_THREAD, **self._environment}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        command = [sys.executable, "-m", "services.forkserver", "--control", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [*command, "--preload", ",".join(self._preload)],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._control = ours

    def _wait_ready(self) -> dict[str, Any]:
        self._start()
        if self._ready is None:
            self._ready = self._read_reply(_READY_TIMEOUT_SECONDS)
        return self._ready

    def _fork(self, request: Mapping[str, Any], log: Path | None) -> Child:
        self._wait_ready()
        ours, theirs = socket.socketpair()
        exit_read, exit_write = os.pipe()
        passed = [theirs.detach(), exit_write]
        try:
            if log is not None:
                passed.append(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
            pid = self._ask(request, passed)
        except BaseException:
            ours.close()
            os.close(exit_read)
            raise
        finally:
            for fd in passed:
                os.close(fd)
        return Child(pid, ours, exit_read)

    def _ask(self, request: Mapping[str, Any], fds: list[int]) -> int:
        if self._control is None:
            raise _Gone
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], fds)
        except OSError:
            raise _Gone from None
        reply = self._read_reply(_REPLY_TIMEOUT_SECONDS)
        if "pid" not in reply:
            raise Unavailable(f"No process could be started: {reply.get('error')}.")
        return int(reply["pid"])

    def _read_reply(self, timeout_seconds: float) -> dict[str, Any]:
        if self._control is None:
            raise _Gone
        self._control.settimeout(timeout_seconds)
        try:
            message = self._control.recv(_REPLY_BYTES)
        except OSError:  # reset, or no answer in time
            raise _Gone from None
        if not message:
            raise _Gone
        reply: dict[str, Any] = json.loads(message)
        return reply

    def _stop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            try:
                self._process.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
        self._process = self._control = self._ready = None

    def _unavailable(self, detail: str) -> Unavailable:
        self._stop()
        return Unavailable(detail)

    def _forget(self) -> None:
        """Drop the parent's server in a forked copy of the owner, so that it still sees the parent's death."""
        if self._control is not None:
            self._control.close()
        self._process = self._control = self._ready = None
        self._lock = threading.Lock()


def _forget_all() -> None:
    for server in list(_servers):
        server._forget()


os.register_at_fork(after_in_child=_forget_all)
