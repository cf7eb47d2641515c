"""Pages of lists, and how times are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


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


def timestamp(moment: datetime | None) -> str | None:
    """Return RFC 3339 in UTC with microseconds (``2026-11-23T04:30:00.000000Z``)."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
