"""Children that keep a trained model built for some seconds, a few at a time: the next request finds it ready."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.config import Settings
from services.errors import InvalidRequest, Problem, Unavailable
from services.forkserver.child import Child
from services.forkserver.client import ForkServer
from services.forkserver.limits import Limits

TARGET = "services.modules.predict.child:serve"
_WAIT_SECONDS = 30.0
_OPEN_FILES = 64
_WRITTEN_BYTES = 1 << 30  # a built-in data set, when the cache does not have it yet

Event = dict[str, Any]
Prepare = Callable[[Path], Mapping[str, Any]]
"""Writes what a child needs into a folder, and returns what it is told."""


@dataclass(slots=True, eq=False)
class _Idle:
    key: str
    child: Child
    timer: threading.Timer


class _Died(Exception):
    """The child is gone without an answer."""


class WarmModels:
    """Answers requests in children, at most ``prediction_processes`` of them, idle ones included.

    Safe to use from several threads. An idle child goes after ``prediction_idle_seconds``, or when its place is needed.
    """

    def __init__(self, settings: Settings, server: ForkServer) -> None:
        self._settings = settings
        self._server = server
        self._free = threading.BoundedSemaphore(settings.prediction_processes)
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []
        self._busy = 0

    def ask(self, key: str, prepare: Prepare, request: Mapping[str, Any], *, streamed: bool) -> Iterator[Event]:
        """Yield what a child with the model ``key`` says, which ``prepare`` describes if there is none.

        A child that had waited and is found dead is replaced. A ``streamed`` answer may take as long as it goes on.

        Raises:
            InvalidRequest: the child's problems; ``model_too_large``, ``prediction_timeout``.
            Unavailable: all children are busy, or none can be started.
        """
        if not self._free.acquire(timeout=_WAIT_SECONDS):
            raise Unavailable("All prediction processes are busy.")
        try:
            with self._lock:
                self._busy += 1
            yield from self._ask(key, prepare, request, streamed)
        finally:
            with self._lock:
                self._busy -= 1
            self._free.release()

    def close(self) -> None:
        """End the children that wait."""
        with self._lock:
            waiting, self._idle = self._idle, []
        for one in waiting:
            one.timer.cancel()
            one.child.close()

    def _ask(self, key: str, prepare: Prepare, request: Mapping[str, Any], streamed: bool) -> Iterator[Event]:
        warm = self._take(key)
        if warm is not None:
            try:
                first, rest = _begun(self._converse(key, warm, request, streamed))
            except _Died:
                pass  # somebody killed it while it waited, or the machine did
            else:
                yield first
                yield from rest
                return
        try:
            yield from self._converse(key, self._start(prepare), request, streamed)
        except _Died:
            detail = "Predicting these rows used up the memory that a prediction may have."
            raise InvalidRequest([Problem("model_too_large", detail, "", "Send fewer rows at a time.")]) from None

    def _converse(self, key: str, child: Child, request: Mapping[str, Any], streamed: bool) -> Iterator[Event]:
        """Yield the answer to one request; the child is kept for the next if it answered to the end."""
        sound = False
        try:
            _send(child, request)
            for event in self._events(child, streamed):
                sound = "end" in event or "problems" in event
                if "problems" in event:
                    raise InvalidRequest([Problem(**one) for one in event["problems"]])
                yield event
        finally:
            if sound:
                self._keep(key, child)
            else:
                child.close()

    def _events(self, child: Child, streamed: bool) -> Iterator[Event]:
        """Yield events until the last one of an answer."""
        seconds = self._settings.prediction_timeout_seconds
        deadline = time.monotonic() + seconds
        while not child.ended:
            if time.monotonic() >= deadline:
                detail = f"Predicting these rows does not end within {seconds:g} s."
                raise InvalidRequest([Problem("prediction_timeout", detail, "", "Send fewer rows at a time.")])
            for event in child.receive(max(0.0, deadline - time.monotonic())):
                yield event
                deadline = time.monotonic() + seconds if streamed else deadline
                if not event.keys().isdisjoint(("end", "problems", "ready")):
                    return
        raise _Died

    def _take(self, key: str) -> Child | None:
        """Return an idle child with this model; without one make room for another child."""
        with self._lock:
            found = next((one for one in self._idle if one.key == key), None)
            if found is not None:
                self._idle.remove(found)
            excess = 0 if found is not None else self._busy + len(self._idle) - self._settings.prediction_processes
            gone = self._idle[: max(0, excess)]
            self._idle = [one for one in self._idle if one not in gone]
        for one in gone:
            one.timer.cancel()
            one.child.close()
        if found is None:
            return None
        found.timer.cancel()
        return found.child

    def _start(self, prepare: Prepare) -> Child:
        """Start a child and wait until its model is built; the folder is gone then."""
        root = self._settings.scratch_dir / "predictions"
        root.mkdir(parents=True, exist_ok=True)
        memory = self._settings.preflight_memory_bytes
        limits = Limits(memory_bytes=memory, open_files=_OPEN_FILES, file_bytes=_WRITTEN_BYTES)
        with tempfile.TemporaryDirectory(dir=root) as folder:
            child = self._server.spawn(TARGET, prepare(Path(folder).resolve()), limits=limits)
            try:
                (event,) = self._events(child, streamed=False)
                if "problems" in event:
                    raise InvalidRequest([Problem(**one) for one in event["problems"]])
            except BaseException:
                child.close()
                raise
        return child

    def _keep(self, key: str, child: Child) -> None:
        one = _Idle(key, child, threading.Timer(self._settings.prediction_idle_seconds, lambda: self._expire(one)))
        one.timer.daemon = True
        with self._lock:
            self._idle.append(one)
        one.timer.start()

    def _expire(self, one: _Idle) -> None:
        with self._lock:
            waits = one in self._idle
            if waits:
                self._idle.remove(one)
        if waits:
            one.child.close()


def _send(child: Child, request: Mapping[str, Any]) -> None:
    try:
        child.send(request)
    except TimeoutError:  # it is stopped, and reads nothing
        raise _Died from None


def _begun(events: Iterator[Event]) -> tuple[Event, Iterator[Event]]:
    """Return the first event, and the rest."""
    return next(events), events
