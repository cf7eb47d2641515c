"""All SQL about webhooks and their deliveries, but for the outbox."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from services.db.models import Job, JobEvent
from services.db.webhook_models import Webhook, WebhookDelivery
from services.jobs import repository as jobs


def find(session: Session, *, tenant_id: str, webhook_id: str, locked: bool = False) -> Webhook | None:
    """Return the tenant's webhook."""
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.tenant_id == tenant_id)
    if locked:
        # Not FOR UPDATE: the outbox, whose rows refer to this one, need not wait.
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    return session.scalar(query)


def keep(session: Session, *, tenant_id: str, webhook_id: str) -> bool:
    """Return whether the tenant has this webhook, and let nobody delete it until the transaction ends."""
    query = select(Webhook.id).where(Webhook.id == webhook_id, Webhook.tenant_id == tenant_id)
    return session.scalar(query.with_for_update(read=True, key_share=True)) is not None


def keep_by_url(session: Session, *, tenant_id: str, url: str) -> Webhook | None:
    """Return the tenant's oldest webhook with this address, kept as by `keep`."""
    query = select(Webhook).where(Webhook.tenant_id == tenant_id, Webhook.url == url).order_by(Webhook.id).limit(1)
    return session.scalar(query.with_for_update(read=True, key_share=True))


def lock(session: Session, *, tenant_id: str) -> None:
    """Let nobody else make a webhook for a tenant until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"webhooks/{tenant_id}", 0))))


def detach_jobs(session: Session, *, webhook_id: str) -> None:
    """Let no job name a webhook."""
    jobs.hold_briefly(session)
    naming = update(Job).where(Job.webhook_id == webhook_id).values(webhook_id=None)
    session.execute(naming.execution_options(synchronize_session=False))


def count(session: Session, *, tenant_id: str) -> int:
    """Return how many webhooks a tenant has."""
    return session.scalar(select(func.count()).where(Webhook.tenant_id == tenant_id)) or 0


def page(session: Session, *, tenant_id: str, limit: int, after: str | None) -> list[Webhook]:
    """Return up to ``limit`` webhooks, newest first, older than ``after``."""
    query = select(Webhook).where(Webhook.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Webhook.id < after)
    return list(session.scalars(query.order_by(Webhook.id.desc()).limit(limit)))


def delivery(session: Session, *, webhook_id: str, event_id: str, locked: bool = False) -> WebhookDelivery | None:
    """Return one delivery."""
    query = select(WebhookDelivery).where(
        WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.event_id == event_id
    )
    if locked:
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def deliveries(
    session: Session, *, webhook_id: str, limit: int, before: int | None, states: Sequence[str]
) -> list[WebhookDelivery]:
    """Return up to ``limit`` deliveries, newest first, older than sequence ``before``."""
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    if before is not None:
        query = query.where(WebhookDelivery.sequence < before)
    if states:
        query = query.where(WebhookDelivery.state.in_(states))
    return list(session.scalars(query.order_by(WebhookDelivery.sequence.desc()).limit(limit)))


def next_due(session: Session, *, webhook_id: str, after: int) -> WebhookDelivery | None:
    """Return the first delivery of a webhook that is due, of a later sequence than ``after``; None if it is off."""
    query = select(WebhookDelivery).join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
    query = query.where(
        Webhook.id == webhook_id,
        Webhook.enabled,
        WebhookDelivery.state == "pending",
        WebhookDelivery.due_at <= func.now(),
        WebhookDelivery.sequence > after,
    )
    return session.scalar(query.order_by(WebhookDelivery.sequence).limit(1))


def job_event(session: Session, *, event_id: str) -> JobEvent | None:
    """Return the event of a job that a delivery tells of."""
    return session.scalar(select(JobEvent).where(JobEvent.id == event_id))


def hurry(session: Session, *, webhook_id: str) -> None:
    """Make everything that waits for its next try due now: the receiver is back."""
    waiting = (WebhookDelivery.webhook_id == webhook_id, WebhookDelivery.state == "pending")
    session.execute(update(WebhookDelivery).where(*waiting).values(due_at=func.now()))


def delete_settled(session: Session, *, older_than_seconds: float, limit: int) -> int:
    """Delete old deliveries that nobody works on; return how many."""
    age = func.make_interval(0, 0, 0, 0, 0, 0, older_than_seconds)
    old = (
        select(WebhookDelivery.sequence)
        .where(WebhookDelivery.created_at < func.now() - age, WebhookDelivery.state != "pending")
        .order_by(WebhookDelivery.created_at)
        .limit(limit)
    )
    gone = delete(WebhookDelivery).where(WebhookDelivery.sequence.in_(old.scalar_subquery()))
    return len(session.execute(gone.returning(WebhookDelivery.sequence)).all())
