"""Identifiers that are in order whichever machine makes them: dated by the database's clock, not by a worker's."""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.identifiers import new_id

_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
_AHEAD = "clock_ahead_milliseconds"


def new_row_id(session: Session, prefix: str) -> str:
    """Return a new identifier for a row that is listed in the order of its making.

    A session asks for the time once; from then on it counts how much has passed.
    """
    ahead: float | None = session.info.get(_AHEAD)
    if ahead is None:
        now: int = session.scalar(_NOW)
        ahead = session.info[_AHEAD] = now - time.monotonic() * 1000  # after the answer: never later than it is there
        return new_id(prefix, milliseconds=now)
    return new_id(prefix, milliseconds=int(ahead + time.monotonic() * 1000))
