"""Asks a sandboxed child, which has torch, whether a definition can be built and run; remembers the answers."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.config import Settings
from services.definition import Definition
from services.errors import Busy, InvalidRequest, Problem, Unavailable
from services.forkserver.child import Child
from services.forkserver.client import ForkServer
from services.forkserver.limits import OUT_OF_MEMORY, Limits

TARGET = "services.modules.preflight:run"
PORTRAIT = "services.modules.portrait:run"
STATIC_PRELOAD = ("services.modules.static.run", "services.modules.static.warm:warm")
"""For captures: torch's compiler takes seconds to load, so these have a fork server of their own, when first asked."""
PRELOAD = (
    "services.modules.warm",
    "services.modules.portrait",
    "services.modules.graph.run",
    "services.modules.predict.child",
)
CACHE_ENTRIES = 2_000
_OPEN_FILES = 64
_WRITTEN_BYTES = 8 << 30
_FIRST_WAIT_SECONDS = 60.0
"""How long a request may wait for a free child; the first one also waits for torch to be imported."""
LOADING_SECONDS = 20.0
"""How long a capture waits for torch's compiler, which takes 8 s of one idle core to load; then it may come back."""

_OUR_FAULT = "This model could not be tried, by a fault of the service and not of yours."
_OUR_FAULT_HINT = "Tell whoever runs the service; its log has the request id. Another way to write the model may pass."

log = logging.getLogger(__name__)
Answer = dict[str, Any]
"""What a child says: ``{"report": …}`` or ``{"problems": […]}``."""


class Preflight:
    """Checks definitions in children of a fork server, a few at a time. Safe to use from several threads."""

    def __init__(self, settings: Settings, *, preload: Sequence[str] = PRELOAD) -> None:
        self.settings = settings
        self._free_for_measures = threading.BoundedSemaphore(1)
        """One at a time, for two would slow each other down."""
        self._server = ForkServer(preload=preload)
        self._free = threading.BoundedSemaphore(settings.preflight_processes)
        self._free_for_visits = threading.BoundedSemaphore(settings.graph_processes)
        """Apart, so that graphs of seconds do not keep submissions waiting."""
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def server(self) -> ForkServer:
        """The server whose children have torch, for who needs children of another kind."""
        return self._server

    def start(self) -> None:
        """Load torch now, without waiting for it; the first question does it otherwise."""
        self._server.start()

    def wait_loaded(self) -> None:
        """Start loading if need be, and wait a while for its end; it goes on when nobody waits.

        Raises:
            Busy: it takes longer.
            Unavailable: it failed.
        """
        if not self._server.ready_within(LOADING_SECONDS):
            raise Busy("torch's compiler is still being loaded, once for this service; the next try finds it sooner.")

    def check(
        self,
        definition: Definition,
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        objective: Mapping[str, Any] | None = None,
        pointer: str = "",
    ) -> dict[str, Any]:
        """Return the report of ``services.modules.preflight.preflight``; equal questions are answered from memory.

        Raises:
            InvalidRequest: the definition cannot be built, does not fit its inputs, or is too large.
            Unavailable: no child could be had.
        """
        return self._report(TARGET, definition, inputs, pointer, objective)

    def portray(self, definition: Definition, *, pointer: str = "") -> dict[str, Any]:
        """Return the report for the definition's own inputs, with ``source`` and ``summary`` (``{"tree", "text"}``).

        Raises:
            InvalidRequest, Unavailable: as `check`.
        """
        return self._report(PORTRAIT, definition, None, pointer)

    def visit(
        self,
        target: str,
        payload: Mapping[str, Any],
        *,
        pointer: str = "",
        seconds: float,
        directory: Path | None = None,
    ) -> dict[str, Any]:
        """Run ``target`` in a child, with ``payload`` and the quota of parameters, and return its report.

        Nothing is remembered: the answer depends on more than the definition. Files may be written only where a
        ``directory`` is given: the child works in it.

        Raises:
            InvalidRequest, Unavailable: as `check`.
        """
        quota = {"pointer": pointer, "max_parameters": self.settings.max_model_parameters}
        with _held(self._free_for_visits):
            answer = self._spawn(target, {**payload, **quota}, pointer, seconds, directory)
        if "report" in answer:
            return dict(answer["report"])
        raise InvalidRequest([Problem(**problem) for problem in answer["problems"]])

    def measure(self, target: str, plan: Mapping[str, Any], *, seconds: float) -> dict[str, Any] | None:
        """Return what ``target`` measures in a child, and remember it; None while another one measures."""
        if not self._free_for_measures.acquire(blocking=False):
            return None
        try:
            payload = {**plan, "threads": self.settings.trainer_threads}
            answer = self._spawn(target, payload, "", seconds)
        finally:
            self._free_for_measures.release()
        report = answer.get("report", {"failed": "killed"})
        self._remember(_key(target, plan), {"report": report})
        return dict(report)

    def measured(self, target: str, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what has been measured; None if nothing was."""
        answer = self._remembered(_key(target, plan))
        return None if answer is None else dict(answer["report"])

    def close(self) -> None:
        """End the fork server and its children."""
        self._server.close()

    def _report(
        self,
        target: str,
        definition: Definition,
        inputs: Mapping[str, Mapping[str, Any]] | None,
        pointer: str,
        objective: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        key = json.dumps([target, definition.sha256, definition.bare, inputs, pointer, objective], default=list)
        answer = self._remembered(key)
        if answer is None:
            answer = self._ask(target, definition, inputs, pointer, objective)
            self._remember(key, answer)
        if "report" in answer:
            return dict(answer["report"])
        raise InvalidRequest([Problem(**problem) for problem in answer["problems"]])

    def _remembered(self, key: str) -> Answer | None:
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def _remember(self, key: str, answer: Answer) -> None:
        with self._lock:
            self._answers[key] = answer
            if len(self._answers) > CACHE_ENTRIES:
                self._answers.popitem(last=False)

    def _ask(
        self,
        target: str,
        definition: Definition,
        inputs: Mapping[str, Mapping[str, Any]] | None,
        pointer: str,
        objective: Mapping[str, Any] | None,
    ) -> Answer:
        payload = {
            "document": definition.sent,
            "inputs": None if inputs is None else {name: dict(one) for name, one in inputs.items()},
            "pointer": pointer,
            "objective": None if objective is None else dict(objective),
            "max_parameters": self.settings.max_model_parameters,
        }
        with _held(self._free):
            return self._spawn(target, payload, pointer, self.settings.preflight_timeout_seconds)

    def _spawn(
        self,
        target: str,
        payload: Mapping[str, Any],
        pointer: str,
        timeout_seconds: float,
        directory: Path | None = None,
    ) -> Answer:
        limits = self._limits(timeout_seconds, writes=directory is not None)
        with self._server.spawn(target, payload, limits=limits, directory=directory) as child:
            return self._await(child, pointer, timeout_seconds)

    def _limits(self, timeout_seconds: float, *, writes: bool) -> Limits:
        seconds = int(timeout_seconds) + 1
        memory = self.settings.preflight_memory_bytes
        size = _WRITTEN_BYTES if writes else 1
        return Limits(memory_bytes=memory, cpu_seconds=seconds, open_files=_OPEN_FILES, file_bytes=size)

    def _await(self, child: Child, pointer: str, timeout_seconds: float) -> Answer:
        """Wait for the answer until the deadline; a child that dies or hangs is the definition's doing."""
        deadline = time.monotonic() + timeout_seconds
        while not child.ended and time.monotonic() < deadline:
            for event in child.receive(max(deadline - time.monotonic(), 0.0)):
                if "report" in event or "problems" in event:
                    return event
        exit_ = child.wait(1.0) if child.ended else None
        child.kill()
        if exit_ is not None and exit_.code is not None and exit_.code != OUT_OF_MEMORY:
            log.error("a child that tries models failed by a fault of ours: exit code %d", exit_.code)
            return {"problems": [Problem("check_failed", _OUR_FAULT, pointer, _OUR_FAULT_HINT).to_dict()]}
        detail = (
            "Trying this model used up the memory or the time that a check may take."
            if child.ended
            else f"Trying this model does not end within {timeout_seconds:g} s."
        )
        problem = Problem("model_too_large", detail, pointer, "Make its layers smaller or its loops shorter.")
        return {"problems": [problem.to_dict()]}


def _key(target: str, plan: Mapping[str, Any]) -> str:
    return json.dumps([target, plan], sort_keys=True, default=list)


@contextmanager
def _held(free: threading.BoundedSemaphore) -> Iterator[None]:
    """Hold one of the children that may run at once.

    Raises:
        Unavailable: none came free in time.
    """
    if not free.acquire(timeout=_FIRST_WAIT_SECONDS):
        raise Unavailable("All preflight processes are busy.")
    try:
        yield
    finally:
        free.release()
