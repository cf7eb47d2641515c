"""Identifiers that are in order whichever machine makes them: dated by the database's clock, not by a worker's.

A process asks for the time once a second at most; in between it counts how much has passed. An answer is late by the
way back, never early, so of two readings the later time is the better one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.identifiers import new_id

_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8")
CLOCK = "clock"
"""Where a session's ``info`` has the `Clock` of its database."""
_GOOD_SECONDS = 1.0
_DRIFT_SECONDS = 0.001
"""So much a reading loses against the next one: clocks drift apart, and the database may move to another machine."""
_STEP_SECONDS = 1.0
"""So far behind its own last reading a clock was not late: it was set, or is another one."""


@dataclass(slots=True)
class Clock:
    """How far a database's clock is ahead of this process's count, as of ``read_at``; good from any thread."""

    ahead_seconds: float = float("-inf")
    read_at: float = float("-inf")

    def is_good(self) -> bool:
        """Whether it was read a moment ago."""
        return time.monotonic() - self.read_at < _GOOD_SECONDS

    def set(self, now_seconds: float) -> None:
        """Note what the database has just answered."""
        read_at = time.monotonic()
        ahead, known = now_seconds - read_at, self.ahead_seconds - _DRIFT_SECONDS
        self.ahead_seconds = ahead if ahead < known - _STEP_SECONDS else max(ahead, known)
        self.read_at = read_at

    def milliseconds(self) -> int:
        """Return the time since 1970."""
        return int((self.ahead_seconds + time.monotonic()) * 1000)


def new_row_id(session: Session, prefix: str) -> str:
    """Return a new identifier for a row that is listed in the order of its making."""
    clock: Clock = session.info.setdefault(CLOCK, Clock())
    if not clock.is_good():
        clock.set(session.connection().scalar(_NOW))
    return new_id(prefix, milliseconds=clock.milliseconds())
