"""How many requests tenants make a day: counted by processes, added up in one row a tenant and day."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.types import Date

from services.db.accounting_models import RequestCount

SHOWN_DAYS = 30


@dataclass(slots=True)
class Tally:
    """Requests by tenant: those that were let in, and those that were one too many."""

    requests: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count what another counted, too."""
        self.requests.update(other.requests)
        self.refused.update(other.refused)


def add_requests(session: Session, tally: Tally) -> None:
    """Add what was counted to the totals of today, by the database's clock in UTC."""
    tenants = sorted({*tally.requests, *tally.refused})  # in one order: two processes never wait for each other
    rows = [
        {"tenant_id": tenant, "day": _today(), "requests": tally.requests[tenant], "refused": tally.refused[tenant]}
        for tenant in tenants
    ]
    added = insert(RequestCount).values(rows)
    session.execute(
        added.on_conflict_do_update(
            index_elements=[RequestCount.tenant_id, RequestCount.day],
            set_={
                "requests": RequestCount.requests + added.excluded.requests,
                "refused": RequestCount.refused + added.excluded.refused,
            },
        )
    )


def requests_of(session: Session, *, tenant_id: str) -> dict[str, Any]:
    """Return a tenant's requests of today and of the last 30 days."""
    counts = func.coalesce(func.sum(RequestCount.requests), 0), func.coalesce(func.sum(RequestCount.refused), 0)
    found = {}
    for name, days in (("today", 0), (f"last_{SHOWN_DAYS}_days", SHOWN_DAYS - 1)):
        query = select(*counts).where(RequestCount.tenant_id == tenant_id, RequestCount.day >= _today() - days)
        requests, refused = session.execute(query).one()
        found[name] = {"requests": int(requests), "refused": int(refused)}
    return found


def _today() -> ColumnElement[date]:
    return cast(func.timezone("UTC", func.now()), Date)
