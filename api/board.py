"""The line of queued jobs as this process last read it: polls ask it instead of the database.

A line of 100 000 takes a fifth of a second to read, so nobody's poll reads it: it is read again when it is older than
`FRESH` times what reading it took, at most. Of many who need a newer one one reads it, and the others do not wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from services.jobs.line import Line
from services.jobs.places import place, waiting_of
from services.pages import Page

FRESH = 20
"""So reading takes a twentieth of the time of one thread and one connection, however many poll."""
NEWS = 9
"""The same, and a tenth, for a job that was queued after the line was read: its place is behind what is not in it."""


class Board:
    """Places in the line, as of a moment ago. Safe to use from many threads."""

    def __init__(self, read: Callable[[], Line]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._fresh_until = self._kept_until = 0.0

    def placed(self, view: Mapping[str, Any], *, tenant_id: str) -> dict[str, Any]:
        """Return a job's view with its ``queue``: its place, or None where it is not queued."""
        return {**view, "queue": self.find_place(view, tenant_id=tenant_id)}

    def placed_page(self, page: Page, *, tenant_id: str) -> Page:
        """Return a page of jobs, each with its place."""
        return Page([self.placed(row, tenant_id=tenant_id) for row in page.data], page.has_more, page.last_id)

    def find_place(self, view: Mapping[str, Any], *, tenant_id: str) -> dict[str, Any] | None:
        """Return the place in the line of the job that ``view`` shows; None where it is not queued."""
        waiting = waiting_of(view, tenant_id=tenant_id)
        return None if waiting is None else place(self.line(since=waiting.created_at), waiting)

    def line(self, *, since: datetime) -> Line:
        """Return the line, read after ``since`` unless that would be too often."""
        if (recent := self.find_line(since=since)) is not None:
            return recent
        known = self._line
        # Whoever comes while it is read makes do with the old one; only for the first there is none.
        if not self._lock.acquire(blocking=known is None) and known is not None:
            return known
        try:
            return self._read_once(known)
        finally:
            self._lock.release()

    def find_line(self, *, since: datetime) -> Line | None:
        """Return the line as `line` does if that asks nobody; None if it has to be read first."""
        known = self._line
        if known is None:
            return None
        kept = self._fresh_until if known.as_of >= since else self._kept_until
        return known if time.monotonic() < kept else None

    def _read_once(self, known: Line | None) -> Line:
        """Read the line, unless that was done while this thread came here."""
        if self._line is None or self._line is known:
            self._line = self._timed_read()
        return self._line

    def _timed_read(self) -> Line:
        began = time.monotonic()
        line = self._read()
        ended = time.monotonic()
        self._fresh_until = ended + FRESH * (ended - began)
        self._kept_until = ended + NEWS * (ended - began)
        return line
