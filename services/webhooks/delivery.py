"""Delivers the outbox: one webhook at a time and in order, each event at least once, with patience and without haste.

Any number of processes may do so at once: a turn at a webhook is taken by one of them, by the database's clock. One
that dies in its turn leaves it to the next, who may send an event again; its id is the same.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.engine import Database
from services.db.webhook_models import Webhook, WebhookDelivery
from services.jobs.events import event_view
from services.pages import timestamp
from services.telemetry import counters
from services.webhooks import repository
from services.webhooks.filters import DISABLED
from services.webhooks.outbox import put_service_event
from services.webhooks.sending import Try, post
from services.webhooks.service import switch
from services.webhooks.signing import signed_headers

TURN_SECONDS = 60.0
"""A turn that is not over by then is taken for one that died."""
LONGEST_SECONDS = 30.0
"""After so long a turn ends, whatever is left: other webhooks wait too."""
LONGEST_PAUSE_SECONDS = 6 * 3600.0
"""Between two tries of one event."""
LONGEST_REST_SECONDS = 60.0
"""Between two turns at a webhook that fails."""
OUTAGE_FAILURES = 3
"""So many failures in a row are an outage; when it ends, everything that waits is tried at once."""
KEPT_TRIES = 20
GONE = 410
_DOUBLINGS = 30  # beyond which every pause is the longest anyway

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to deliver to one webhook for `TURN_SECONDS`."""

    webhook_id: str
    url: str
    keys: tuple[str, ...]


def take_turn(session: Session) -> Turn | None:
    """Return the turn that has been due for longest; None when nothing is to be delivered now."""
    due = select(WebhookDelivery.sequence).where(
        WebhookDelivery.webhook_id == Webhook.id,
        WebhookDelivery.state == "pending",
        WebhookDelivery.due_at <= func.now(),
    )
    first = (
        select(Webhook.id)
        .where(Webhook.enabled, Webhook.next_turn_at <= func.now(), due.exists())
        .order_by(Webhook.next_turn_at)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    old = (Webhook.old_secret_until > func.now()).label("old_counts")
    row = session.execute(
        update(Webhook)
        .where(Webhook.id == first.scalar_subquery())
        .values(next_turn_at=func.now() + timedelta(seconds=TURN_SECONDS))
        .returning(Webhook.id, Webhook.url, Webhook.secret, Webhook.old_secret, old)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        return None
    return Turn(row.id, row.url, (row.secret, row.old_secret) if row.old_counts else (row.secret,))


def deliver(
    database: Database, turn: Turn, settings: Settings, *, stopping: Callable[[], bool] = lambda: False
) -> None:
    """Deliver what is due in its order, until one try fails: the receiver then gets a rest."""
    end, after = time.monotonic() + LONGEST_SECONDS, -1
    while time.monotonic() < end and not stopping():
        with database.read_session() as session:
            delivery = repository.next_due(session, webhook_id=turn.webhook_id, after=after)
            body = None if delivery is None else _body(session, delivery)
        if delivery is None:
            break
        after = delivery.sequence
        if not _try(database, turn, delivery.event_id, body, settings):
            return
    with database.session() as session:
        mine = update(Webhook).where(Webhook.id == turn.webhook_id)
        session.execute(mine.values(next_turn_at=func.least(Webhook.next_turn_at, func.now())))


def _body(session: Session, delivery: WebhookDelivery) -> str | None:
    """Return what is sent: the event as the list of a job's events shows it, and ``timestamp``, its ``created_at``."""
    if delivery.payload is not None:
        created_at = timestamp(delivery.created_at)
        content: dict[str, Any] = {**delivery.payload, "created_at": created_at}
    else:
        event = repository.job_event(session, event_id=delivery.event_id)
        if event is None:
            return None
        content = event_view(event)
    content["timestamp"] = content["created_at"]
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _try(database: Database, turn: Turn, event_id: str, body: str | None, settings: Settings) -> bool:
    """Send one event, write down what came of it, and return whether the turn goes on."""
    if body is None:
        found = Try(None, 0.0, error="The event is gone.")
    else:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "modelwright-webhooks",
            **signed_headers(event_id, body, at=datetime.now(UTC), keys=turn.keys),
        }
        found = post(turn.url, headers=headers, body=body.encode("utf-8"), settings=settings)
    with database.session() as session:
        _settle(session, turn, event_id, found, settings)
    ids = {"webhook_id": turn.webhook_id, "event_id": event_id, "status": found.status, "latency_ms": found.latency_ms}
    if found.succeeded:
        log.info("webhook delivered", extra=ids)
    else:
        log.warning("webhook not delivered: %s", found.error, extra=ids)
    return found.succeeded


def _settle(session: Session, turn: Turn, event_id: str, found: Try, settings: Settings) -> None:
    webhook = session.scalar(select(Webhook).where(Webhook.id == turn.webhook_id).with_for_update(key_share=True))
    delivery = repository.delivery(session, webhook_id=turn.webhook_id, event_id=event_id, locked=True)
    if webhook is None or delivery is None or delivery.state != "pending":
        return  # deleted meanwhile, or another one has delivered it
    now = session.scalars(select(func.clock_timestamp())).one()
    delivery.tried += 1
    delivery.tries = [*delivery.tries, {"at": timestamp(now), **found.to_dict()}][-KEPT_TRIES:]
    if found.succeeded:
        _succeed(session, webhook, delivery, now)
    else:
        _fail(session, webhook, delivery, now, found, settings)
    counted = {("webhook_tries", "succeeded" if found.succeeded else "failed"): 1}
    if delivery.state != "pending":
        counted["webhook_deliveries", delivery.state] = 1
    counters.add(session, counted)


def _succeed(session: Session, webhook: Webhook, delivery: WebhookDelivery, now: datetime) -> None:
    delivery.state, delivery.delivered_at = "succeeded", now
    if webhook.failures >= OUTAGE_FAILURES:
        session.flush()
        repository.hurry(session, webhook_id=webhook.id)
    webhook.failures, webhook.failing_since, webhook.last_delivered_at = 0, None, now


def _fail(  # noqa: PLR0917 - one try, seen from all sides
    session: Session, webhook: Webhook, delivery: WebhookDelivery, now: datetime, found: Try, settings: Settings
) -> None:
    """Wait twice as long as the last time, or give the event up; switch a webhook off that has failed for days."""
    pause = _doubled(settings.webhook_retry_seconds, delivery.tried, LONGEST_PAUSE_SECONDS)
    delivery.due_at = now + pause
    if delivery.due_at - delivery.asked_at > timedelta(seconds=settings.webhook_give_up_seconds):
        delivery.state = "failed"
    webhook.failures += 1
    webhook.failing_since = webhook.failing_since or now
    webhook.next_turn_at = now + _doubled(settings.webhook_retry_seconds / 2, webhook.failures, LONGEST_REST_SECONDS)
    for_days = now - webhook.failing_since > timedelta(seconds=settings.webhook_disable_seconds)
    if webhook.enabled and (found.status == GONE or for_days):
        _switch_off(session, webhook, "gone" if found.status == GONE else "failing")


def _switch_off(session: Session, webhook: Webhook, reason: str) -> None:
    switch(session, webhook, on=False, reason=reason)
    session.flush()
    since = timestamp(webhook.failing_since)
    data = {"webhook_id": webhook.id, "url": webhook.url, "reason": reason, "failing_since": since}
    put_service_event(session, tenant_id=webhook.tenant_id, event_type=DISABLED, data=data)
    counters.add(session, {("webhooks_disabled", reason): 1})
    log.warning("webhook disabled", extra={"webhook_id": webhook.id, "reason": reason})


def _doubled(first_seconds: float, number: int, longest_seconds: float) -> timedelta:
    """Return the pause after failure ``number`` (from 1), up to a fifth longer or shorter, so that crowds disperse."""
    seconds = min(longest_seconds, first_seconds * 2.0 ** min(number - 1, _DOUBLINGS))
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load
