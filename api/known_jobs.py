"""Jobs as they were last sent: a look that finds the same version is answered without reading the documents again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.jobs.places import Waiting

MAX_BYTES = 64 << 20
"""A job is some kilobytes, at most a few megabytes: those that are polled fit."""


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job's answer; ``version`` grows with every change that it shows.

    Of a queued job (``waiting``) it is the answer without its place in the queue, which changes while the job does not.
    """

    version: int
    terminal: bool
    body: bytes
    tag: str
    waiting: Waiting | None = None


class KnownJobs:
    """Answers by tenant and job, the least recently used ones dropped first. Safe to use from many threads."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[tuple[str, str], KnownJob] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, tenant_id: str, job_id: str, version: int, make: Callable[[], KnownJob]) -> KnownJob:
        """Return the answer of that version, or what ``make`` reads, which may be of a later one."""
        key = tenant_id, job_id
        with self._lock:
            known = self._entries.get(key)
            if known is not None and known.version == version:
                self._entries.move_to_end(key)
                return known
        made = make()
        with self._lock:
            self._put(key, made)
        return made

    def _put(self, key: tuple[str, str], made: KnownJob) -> None:
        before = self._entries.pop(key, None)
        self._size_bytes += len(made.body) - (len(before.body) if before else 0)
        self._entries[key] = made
        while self._size_bytes > self._max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._size_bytes -= len(dropped.body)
