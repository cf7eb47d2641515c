"""The outbox: what is to be delivered, written in the transaction of the event that it tells of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from services.db.models import Job
from services.db.webhook_models import Webhook, WebhookDelivery
from services.identifiers import new_id

_COLUMNS = ("webhook_id", "event_id", "type", "job_id", "payload")


def put_job_event(session: Session, job: Job, *, event_id: str, event_type: str, state: str | None) -> None:
    """Put an event of a job into the outbox, once for each webhook that asked for it.

    One statement, whoever listens; it needs nothing that is not flushed yet.
    """
    wanted: ColumnElement[bool] = Webhook.events.overlap(_names(event_type, state))
    if job.webhook_id is not None and {*_names(event_type, state)} & {*(job.webhook_events or ())}:
        wanted = or_(wanted, Webhook.id == job.webhook_id)
    with session.no_autoflush:
        _put(session, and_(Webhook.tenant_id == job.tenant_id, wanted), event_id, event_type, job.id, None)


def put_service_event(session: Session, *, tenant_id: str, event_type: str, data: dict[str, Any]) -> None:
    """Tell the tenant's webhooks of something that happened to no job."""
    payload = service_event(event_type, data)
    wanted = and_(Webhook.tenant_id == tenant_id, Webhook.events.overlap(_names(event_type, None)))
    _put(session, wanted, payload["id"], event_type, None, payload)


def service_event(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a new event of no job; the time it is told at is that of its delivery row."""
    return {"id": new_id("evt"), "object": "event", "type": event_type, "job_id": None, "data": data}


def _put(  # noqa: PLR0917 - the columns of a row
    session: Session,
    wanted: ColumnElement[bool],
    event_id: str,
    event_type: str,
    job_id: str | None,
    payload: dict[str, Any] | None,
) -> None:
    row = select(
        Webhook.id, literal(event_id), literal(event_type), literal(job_id), literal(payload, JSONB(none_as_null=True))
    ).where(Webhook.enabled, wanted)
    # The lock that the foreign key takes anyway, but earlier: who waits for it here then finds a deleted webhook gone.
    row = row.with_for_update(read=True, key_share=True)
    session.execute(insert(WebhookDelivery).from_select(_COLUMNS, row, include_defaults=False))


def _names(event_type: str, state: str | None) -> list[str]:
    """Return every filter that an event passes."""
    kind = event_type.partition(".")[0]
    return ["*", f"{kind}.*", event_type, *([f"{event_type}:{state}"] if state else [])]
