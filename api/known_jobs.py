"""Jobs as they were last sent: a look that finds the same version is answered without reading the documents again.

Places in the queue are kept with the line that they were found in: until that is read again they are the same.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from api.responses import encode
from services.jobs.line import Line
from services.jobs.places import Waiting, place

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
    """Answers by tenant and job, the least recently used ones dropped first. The event loop alone calls it."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[tuple[str, str], KnownJob] = OrderedDict()

    def find(self, tenant_id: str, job_id: str, version: int) -> KnownJob | None:
        """Return the answer of that version."""
        known = self._entries.get((tenant_id, job_id))
        if known is None or known.version != version:
            return None
        self._entries.move_to_end((tenant_id, job_id))
        return known

    def keep(self, tenant_id: str, job_id: str, made: KnownJob) -> None:
        """Keep an answer in place of the one before."""
        before = self._entries.pop((tenant_id, job_id), None)
        self._size_bytes += len(made.body) - (len(before.body) if before else 0)
        self._entries[tenant_id, job_id] = made
        while self._size_bytes > self._max_bytes:
            _, dropped = self._entries.popitem(last=False)
            self._size_bytes -= len(dropped.body)


class KnownPlaces:
    """The places of jobs in one line, as they are sent. The event loop alone calls it."""

    def __init__(self) -> None:
        self._line: Line | None = None
        self._places: dict[Waiting, bytes] = {}

    def find(self, line: Line, job: Waiting) -> bytes:
        """Return the job's place in ``line``; those in another one are forgotten."""
        if line is not self._line:
            self._line, self._places = line, {}
        known = self._places.get(job)
        if known is None:
            known = self._places[job] = encode(place(line, job))
        return known
