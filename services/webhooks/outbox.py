"""The outbox: what is to be delivered, written in the transaction of the event that it tells of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session

from services.db.models import Job
from services.identifiers import new_id

# As text: every change of every job writes here, and most of its time went into composing the statement. The lock is
# the one that the foreign key takes anyway, but earlier: who waits for it here then finds a deleted webhook gone.
_PUT = text(
    """
    INSERT INTO webhook_delivery (webhook_id, event_id, type, job_id, payload)
    SELECT id, :event_id, :type, :job_id, :payload
      FROM webhook
     WHERE enabled AND tenant_id = :tenant_id AND (events && :names OR id = :webhook_id)
       FOR KEY SHARE
    """
).bindparams(
    bindparam("event_id", type_=Text()),
    bindparam("type", type_=Text()),
    bindparam("job_id", type_=Text()),
    bindparam("payload", type_=JSONB(none_as_null=True)),
    bindparam("names", type_=ARRAY(Text())),
    bindparam("webhook_id", type_=Text()),
)


def put_job_event(session: Session, job: Job, *, event_id: str, event_type: str, state: str | None) -> None:
    """Put an event of a job into the outbox, once for each webhook that asked for it.

    One statement, whoever listens; it needs nothing that is not flushed yet.
    """
    names = _names(event_type, state)
    own = job.webhook_id if {*names} & {*(job.webhook_events or ())} else None
    _put(session, job.tenant_id, names, event_id=event_id, type=event_type, job_id=job.id, webhook_id=own)


def put_service_event(session: Session, *, tenant_id: str, event_type: str, data: dict[str, Any]) -> None:
    """Tell the tenant's webhooks of something that happened to no job."""
    payload = service_event(event_type, data)
    _put(session, tenant_id, _names(event_type, None), event_id=payload["id"], type=event_type, payload=payload)


def service_event(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a new event of no job; the time it is told at is that of its delivery row."""
    return {"id": new_id("evt"), "object": "event", "type": event_type, "job_id": None, "data": data}


def _put(session: Session, tenant_id: str, names: list[str], **columns: Any) -> None:  # noqa: ANN401 - of a row
    nothing = {"job_id": None, "payload": None, "webhook_id": None}
    session.connection().execute(_PUT, {**nothing, "tenant_id": tenant_id, "names": names, **columns})


def _names(event_type: str, state: str | None) -> list[str]:
    """Return every filter that an event passes."""
    kind = event_type.partition(".")[0]
    return ["*", f"{kind}.*", event_type, *([f"{event_type}:{state}"] if state else [])]
