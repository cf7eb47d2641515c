"""The public form of webhooks and deliveries."""

from __future__ import annotations

from typing import Any

from services.db.webhook_models import Webhook, WebhookDelivery
from services.pages import timestamp

Json = dict[str, Any]


def webhook_view(webhook: Webhook) -> Json:
    """Return what ``GET /v1/webhooks/{id}`` answers; the secret is shown only where it was made."""
    base = f"/v1/webhooks/{webhook.id}"
    return {
        "id": webhook.id,
        "object": "webhook",
        "url": webhook.url,
        "events": webhook.events,
        "enabled": webhook.enabled,
        "disabled_reason": webhook.disabled_reason,
        "disabled_at": timestamp(webhook.disabled_at),
        "failing_since": timestamp(webhook.failing_since),
        "last_delivered_at": timestamp(webhook.last_delivered_at),
        "created_at": timestamp(webhook.created_at),
        "updated_at": timestamp(webhook.updated_at),
        "links": {"self": base, "deliveries": f"{base}/deliveries", "test": f"{base}/test"},
    }


def delivery_view(delivery: WebhookDelivery) -> Json:
    """Return one delivery with its last tries; its id is that of the event."""
    return {
        "id": delivery.event_id,
        "object": "webhook_delivery",
        "webhook_id": delivery.webhook_id,
        "event_type": delivery.type,
        "job_id": delivery.job_id,
        "state": delivery.state,
        "tried": delivery.tried,
        "tries": delivery.tries,
        "next_try_at": timestamp(delivery.due_at) if delivery.state == "pending" else None,
        "created_at": timestamp(delivery.created_at),
        "delivered_at": timestamp(delivery.delivered_at),
    }
