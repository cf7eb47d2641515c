"""Starts the processes of one job, and ends all of them when one ends before its time."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from services.errors import TrainingFailure
from services.forkserver.isolation import die_with
from worker.trainer.control import Line
from worker.trainer.parallel.quiet import QuietLine
from worker.trainer.parallel.ranks import ALONE, Follower, Leader, Ranks
from worker.trainer.parallel.wire import Gone, Wire

Body = Callable[[Ranks, Line], int]
"""Trains; returns the exit code."""
_FAILURE_SECONDS = 5.0  # the first process has so long to begin to report another one's failure itself,
_DEATH_SECONDS = 0.5  # so long where that one has died,
_REPORT_SECONDS = 1.0  # and so long for the report


def launch(count: int, line: Line, body: Body) -> int:
    """Call ``body`` in ``count`` processes, of which this is the first, and return its exit code.

    Call it with one thread, before torch computed anything or touched a GPU: the others are forked here.
    """
    if count == 1:
        return body(ALONE, line)
    leader_pid, pids, wires = os.getpid(), list[int](), list[Wire]()
    for rank in range(1, count):
        ours, theirs = socket.socketpair()
        wires.append(Wire(ours))
        if (pid := os.fork()) == 0:
            for other in wires:
                other.close()
            wire = Wire(theirs)
            _follow(Follower(rank, count, wire), QuietLine(wire, line.isolation), body, leader_pid)
        pids.append(pid)
        theirs.close()
    leader = Leader(wires)
    watcher = _Watcher(leader, line, pids, wires)
    watcher.start()
    code = body(leader, line)
    if code == 0:
        watcher.join()
    return code


def _follow(ranks: Ranks, line: Line, body: Body, leader_pid: int) -> NoReturn:
    """Be one of the others; never return into the first one's stack."""
    code = 1
    try:
        die_with(leader_pid)
        for number in (signal.SIGINT, signal.SIGTERM):  # meant for the first, which says what follows from them
            signal.signal(number, signal.SIG_IGN)
        code = body(ranks, line)
    except BaseException:  # noqa: BLE001 - the log is the only place left to say it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _Watcher(threading.Thread):
    """Listens to the other processes while the first one trains: a sum in which one is missing may hang for ever."""

    def __init__(self, leader: Leader, line: Line, pids: Sequence[int], wires: Sequence[Wire]) -> None:
        super().__init__(name="ranks", daemon=True)
        self._leader = leader
        self._line = line
        self._pids = pids
        self._wires = {wire.fileno(): (number, wire) for number, wire in enumerate(wires)}

    def run(self) -> None:
        """Pass on what they say, until all have ended."""
        poll = select.poll()
        for fileno in self._wires:
            poll.register(fileno, select.POLLIN)
        while self._wires:
            for fileno, _ in poll.poll():
                number, wire = self._wires[fileno]
                try:
                    self._hear(number, wire)
                except Gone:
                    poll.unregister(fileno)
                    del self._wires[fileno]
                    self._check_end(number)

    def _hear(self, number: int, wire: Wire) -> None:
        while wire.has_more():
            message = wire.receive()
            if "failed" in message:
                self._blame(TrainingFailure.from_dict(message["failed"]), _FAILURE_SECONDS)
            else:
                self._leader.inboxes[number].put(message)

    def _check_end(self, number: int) -> None:
        _, status = os.waitpid(self._pids[number], 0)
        if status != 0 and self._leader.fault is None:
            self._blame(_died(number + 1, self._leader.count, status), _DEATH_SECONDS)
            time.sleep(_REPORT_SECONDS)
            os._exit(1)  # a death is no reason to wait for a checkpoint that is being written

    def _blame(self, failure: TrainingFailure, seconds: float) -> None:
        """Let the first process report the failure and end; if it hangs, do both in its place."""
        self._leader.blame(failure)
        if not self._leader.ending.wait(seconds):
            self._line.emit({"event": "failed", "error": failure.to_dict(), "step": None})
            os._exit(1)


def _died(rank: int, count: int, status: int) -> TrainingFailure:
    code = os.waitstatus_to_exitcode(status)
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return TrainingFailure(
        f"Process {rank + 1} of {count} of the trainer {how} before it had finished.",
        code="trainer_died",
        failure_class="infrastructure",
        retryable=True,
        hint="If this repeats, the machine may be short of memory: try a smaller batch or model.",
    )
