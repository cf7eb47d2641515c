"""Pages of lists, and how times are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.errors import InvalidRequest, Problem
from services.identifiers import check_id


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: ``last_id`` is the cursor (``after=``) of the next."""

    data: list[dict[str, Any]]
    has_more: bool
    last_id: str | None

    @classmethod
    def of(cls, rows: list[dict[str, Any]], *, limit: int) -> Page:
        """Make a page of at most ``limit`` rows from up to ``limit + 1`` of them."""
        data = rows[:limit]
        return cls(data, len(rows) > limit, data[-1]["id"] if data else None)


def id_cursor(after: str | None, prefix: str) -> str | None:
    """Return ``after`` if it can be the last id of a page of such things.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    try:
        return after and check_id(after, prefix)
    except InvalidRequest:
        raise invalid_cursor() from None


def invalid_cursor() -> InvalidRequest:
    """Return the refusal of an ``after`` that is no page's ``last_id``."""
    return InvalidRequest([Problem("invalid_cursor", "`after` is the `last_id` of the page before.")])


def timestamp(moment: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with microseconds (``2026-11-23T04:30:00.000000Z``)."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
