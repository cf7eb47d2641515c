"""Identifiers that are in order whichever machine makes them: dated by the database's clock, not by a worker's.

A process asks for the time once a second at most; in between it counts how much has passed.
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


@dataclass(slots=True)
class Clock:
    """How far a database's clock is ahead of this process's count, as of ``read_at``; good from any thread."""

    ahead_seconds: float = float("-inf")
    read_at: float = float("-inf")

    def is_good(self) -> bool:
        """Whether it was read a moment ago."""
        return time.monotonic() - self.read_at < _GOOD_SECONDS

    def set(self, now_seconds: float, *, asked_at: float) -> None:
        """Note what the database has just answered: it looked at its clock between the question and now.

        A difference that is known already and lies within that is kept, so that ids go on in order.
        """
        self.read_at = time.monotonic()
        self.ahead_seconds = min(max(self.ahead_seconds, now_seconds - self.read_at), now_seconds - asked_at)

    def milliseconds(self) -> int:
        """Return the time since 1970."""
        return int((self.ahead_seconds + time.monotonic()) * 1000)


def new_row_id(session: Session, prefix: str) -> str:
    """Return a new identifier for a row that is listed in the order of its making."""
    clock: Clock = session.info.setdefault(CLOCK, Clock())
    if not clock.is_good():
        connection, asked_at = session.connection(), time.monotonic()
        clock.set(connection.scalar(_NOW), asked_at=asked_at)
    return new_id(prefix, milliseconds=clock.milliseconds())
