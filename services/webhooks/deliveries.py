"""The log of deliveries as clients see it; a test, and one more time what was delivered or given up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from services.db.webhook_models import Webhook, WebhookDelivery
from services.errors import Conflict, InvalidRequest, NotFound
from services.identifiers import check_id
from services.pages import Page, invalid_cursor
from services.webhooks import repository
from services.webhooks.filters import TEST
from services.webhooks.outbox import service_event
from services.webhooks.service import find_webhook
from services.webhooks.views import delivery_view

STATES = ("pending", "succeeded", "failed")


class WebhookDisabled(Conflict):
    """The webhook is switched off; nothing is delivered to it."""

    code = "webhook_disabled"


def list_deliveries(
    session: Session,
    *,
    tenant_id: str,
    webhook_id: str,
    limit: int = 20,
    after: str | None = None,
    states: Sequence[str] = (),
) -> Page:
    """Return a page of deliveries, newest first.

    Raises:
        NotFound: the tenant has no such webhook.
        InvalidRequest: ``invalid_id``, ``invalid_cursor``.
    """
    find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id)
    before = None if after is None else _place(session, webhook_id, after)
    rows = repository.deliveries(session, webhook_id=webhook_id, limit=limit + 1, before=before, states=states)
    return Page.of([delivery_view(row) for row in rows], limit=limit)


def get_delivery(session: Session, *, tenant_id: str, webhook_id: str, event_id: str) -> dict[str, Any]:
    """Return one delivery.

    Raises:
        NotFound: the tenant has no such webhook, or that event was never for it.
        InvalidRequest: ``invalid_id``.
    """
    find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id)
    return delivery_view(_find(session, webhook_id, event_id))


def send_test(session: Session, *, tenant_id: str, webhook_id: str) -> dict[str, Any]:
    """Put an event of type ``webhook.test`` into the outbox, for this webhook alone, and return its delivery.

    Raises:
        NotFound: the tenant has no such webhook.
        WebhookDisabled: it is switched off.
    """
    webhook = _enabled(session, tenant_id, webhook_id)
    payload = service_event(TEST, {"webhook_id": webhook.id, "url": webhook.url})
    delivery = WebhookDelivery(webhook_id=webhook.id, event_id=payload["id"], type=TEST, payload=payload)
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    return delivery_view(delivery)


def redeliver(session: Session, *, tenant_id: str, webhook_id: str, event_id: str) -> dict[str, Any]:
    """Deliver an event once more, with its old id: whoever has seen it may drop it.

    Raises:
        NotFound: the tenant has no such webhook, or that event was never for it.
        WebhookDisabled: it is switched off.
    """
    webhook = _enabled(session, tenant_id, webhook_id)
    delivery = _find(session, webhook_id, event_id, locked=True)
    delivery.state, delivery.delivered_at = "pending", None
    delivery.due_at = delivery.asked_at = func.now()
    delivery.tried = 0
    webhook.next_turn_at = func.least(Webhook.next_turn_at, func.now())
    session.flush()
    session.refresh(delivery)
    return delivery_view(delivery)


def delete_settled(session: Session, *, older_than_seconds: float, limit: int) -> int:
    """Delete deliveries of long ago that nobody works on; return how many."""
    return repository.delete_settled(session, older_than_seconds=older_than_seconds, limit=limit)


def _enabled(session: Session, tenant_id: str, webhook_id: str) -> Webhook:
    webhook = find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id, locked=True)
    if not webhook.enabled:
        raise WebhookDisabled(hint="Switch it on first: PATCH it with enabled true.")
    return webhook


def _find(session: Session, webhook_id: str, event_id: str, *, locked: bool = False) -> WebhookDelivery:
    found = repository.delivery(session, webhook_id=webhook_id, event_id=check_id(event_id, "evt"), locked=locked)
    if found is None:
        raise NotFound()
    return found


def _place(session: Session, webhook_id: str, event_id: str) -> int:
    try:
        return _find(session, webhook_id, event_id).sequence
    except (InvalidRequest, NotFound):
        raise invalid_cursor() from None
