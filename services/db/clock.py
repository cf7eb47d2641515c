"""Identifiers that are in order whichever machine makes them: dated by the database's clock, not by a worker's."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.identifiers import new_id

_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


def new_row_id(session: Session, prefix: str) -> str:
    """Return a new identifier for a row that is listed in the order of its making."""
    return new_id(prefix, milliseconds=session.scalar(_NOW))
