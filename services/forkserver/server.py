"""The fork server's loop: one thread, no torch of its own, one sandboxed child per request."""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from services.forkserver.channel import Channel
from services.forkserver.isolation import isolate, signal_group
from services.forkserver.limits import OUT_OF_MEMORY, Limits

REQUEST_BYTES = 1 << 16
_CHANNEL_FD = 3
_CLD_EXITED = 1


@dataclass(slots=True)
class _Forked:
    """A child, and the pipe that tells the owner how it ended; the pid stays reserved until the owner closes that."""

    pid: int
    pidfd: int
    exit_fd: int
    dead: bool = False
    released: bool = False


class Server:
    """Serves one owner over ``control`` until the owner is gone; then every child is killed."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._poll = select.poll()
        self._by_fd: dict[int, _Forked] = {}

    def preload(self, modules: Sequence[str]) -> None:
        """Import ``modules``, call the functions named like ``module:function``, and report ready.

        What they made is hidden from the collector, so that forks go on sharing it.
        """
        for entry in modules:
            name, _, function = entry.partition(":")
            module = importlib.import_module(name)
            if function:
                getattr(module, function)()
        gc.collect()
        gc.freeze()
        self._reply({"ready": True, "threads": len(list(Path("/proc/self/task").iterdir()))})

    def serve(self) -> None:
        """Fork children until the owner closes its end."""
        self._poll.register(self._control, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    if not self._serve_request():
                        self._kill_all()
                        return
                elif fd in self._by_fd:
                    self._notice(self._by_fd[fd], fd)

    def _serve_request(self) -> bool:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, 3)
        except ConnectionError:
            return False
        if not message:
            return False
        request = json.loads(message)
        try:
            self._reply({"pid": self._fork(request, fds)})
        except OSError as error:  # no processes or memory left: the owner decides what to do
            self._reply({"error": str(error)})
        finally:
            for fd in (fds[0], *fds[2:]):
                os.close(fd)
        return True

    def _fork(self, request: dict[str, Any], fds: list[int]) -> int:
        server_pid = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os.close(fds[1])
            raise
        if pid == 0:
            _become_child(request, fds, server_pid)
        child = _Forked(pid, os.pidfd_open(pid), fds[1])
        self._by_fd[child.pidfd] = self._by_fd[child.exit_fd] = child
        self._poll.register(child.pidfd, select.POLLIN)
        self._poll.register(child.exit_fd, 0)  # POLLERR comes unasked, when the owner closes its end
        return pid

    def _notice(self, child: _Forked, fd: int) -> None:
        if fd == child.pidfd:
            self._poll.unregister(fd)
            child.dead = True
            signal_group(child.pid, signal.SIGKILL)  # nobody survives the leader
            _report(child)
        else:
            self._poll.unregister(fd)
            child.released = True
            signal_group(child.pid, signal.SIGKILL)
        if child.dead and child.released:
            self._bury(child)

    def _bury(self, child: _Forked) -> None:
        os.waitpid(child.pid, 0)
        for fd in (child.pidfd, child.exit_fd):
            del self._by_fd[fd]
            os.close(fd)

    def _kill_all(self) -> None:
        for child in self._by_fd.values():
            signal_group(child.pid, signal.SIGKILL)

    def _reply(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            return  # the owner is gone; the loop sees it next


def _report(child: _Forked) -> None:
    result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOWAIT)
    if result is None:
        return
    kind = "code" if result.si_code == _CLD_EXITED else "signal"
    try:
        os.write(child.exit_fd, json.dumps({kind: result.si_status}).encode())
    except OSError:
        return  # released already: nobody asks


def _become_child(request: dict[str, Any], fds: list[int], server_pid: int) -> NoReturn:
    """Run the target in this fresh fork. Never returns into the server's loop, whatever happens."""
    code = 1
    try:
        os.setsid()
        connection = _arrange_descriptors(fds)
        _reset_signals()
        os.umask(0o077)
        if directory := request["directory"]:
            os.chdir(directory)
            os.environ.update(HOME=directory, TMPDIR=directory)
        walls = isolate(Limits.from_dict(request["limits"]), parent_pid=server_pid)
        code = _run_target(request["target"], Channel(connection, walls))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the log is the only place left to say it
        traceback.print_exc()
        code = OUT_OF_MEMORY if _is_out_of_memory(error) else 1
    finally:
        _flush()
        os._exit(code & 0xFF)


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an allocation met the limit; torch says so in a RuntimeError of its own."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def _run_target(target: str, channel: Channel) -> int:
    module, _, function = target.partition(":")
    payload = channel.read_payload()
    return int(getattr(importlib.import_module(module), function)(payload, channel) or 0)


def _arrange_descriptors(fds: list[int]) -> socket.socket:
    """Leave /dev/null, the log (twice) and the channel open, and nothing else."""
    log = fds[2] if len(fds) > 2 else os.open(os.devnull, os.O_WRONLY)
    channel = os.dup(fds[0])
    os.dup2(log, 1)
    os.dup2(log, 2)
    if channel != _CHANNEL_FD:
        os.dup2(channel, _CHANNEL_FD, inheritable=False)
    os.closerange(_CHANNEL_FD + 1, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=_CHANNEL_FD)


def _reset_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # a full disk must not keep the process alive
