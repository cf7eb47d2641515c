"""What clients do to webhooks: create, look, list, change, delete, replace the secret; what a job says of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.datasets.remote_address import UrlNotAllowed, read_place, resolve_place
from services.db.models import Job
from services.db.webhook_models import Webhook
from services.errors import InvalidRequest, NotFound, Problem, QuotaExceeded
from services.idempotency import service as idempotency
from services.identifiers import check_id, new_id
from services.pages import Page, id_cursor
from services.preconditions import StillSo, in_any_case
from services.training.problems import problems_from
from services.webhooks import repository
from services.webhooks.schema import JobWebhook, WebhookChange, WebhookRequest
from services.webhooks.signing import new_secret
from services.webhooks.views import webhook_view

OLD_SECRET_HOURS = 24
"""So long a secret that was replaced still signs, beside the new one."""

Json = dict[str, Any]
Request = TypeVar("Request", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Creation:
    """The answer to a create, the only one with the secret, and whether an earlier request with the key made it."""

    webhook: Json
    replayed: bool


def create(
    session: Session, *, tenant_id: str, body: Json, settings: Settings, idempotency_key: str | None = None
) -> Creation:
    """Store a webhook.

    Raises:
        InvalidRequest: with every problem of the body; ``url_not_allowed``, after which nothing was sent.
        QuotaExceeded: the tenant has as many as it may have.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
    """
    if idempotency_key is not None:
        answer = idempotency.find_replay(session, tenant_id=tenant_id, key=idempotency_key, body=body)
        if answer is not None:
            return Creation(answer, replayed=True)
    wanted = _read(body, WebhookRequest)
    check_url(wanted.url, settings)
    made = _insert(session, tenant_id, wanted.url, wanted.events, settings, secret=wanted.secret)
    view = {**webhook_view(made), "secret": made.secret}
    if idempotency_key is not None:
        idempotency.remember(session, tenant_id=tenant_id, key=idempotency_key, body=body, response=view)
    return Creation(view, replayed=False)


def get_webhook(session: Session, *, tenant_id: str, webhook_id: str) -> Json:
    """Return one webhook.

    Raises:
        NotFound: the tenant has no such webhook.
        InvalidRequest: ``invalid_id``.
    """
    return webhook_view(find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id))


def find_webhook(session: Session, *, tenant_id: str, webhook_id: str, locked: bool = False) -> Webhook:
    """Return a webhook's row.

    Raises:
        NotFound, InvalidRequest: as `get_webhook`.
    """
    found = repository.find(session, tenant_id=tenant_id, webhook_id=check_id(webhook_id, "whk"), locked=locked)
    if found is None:
        raise NotFound()
    return found


def list_webhooks(session: Session, *, tenant_id: str, limit: int, after: str | None) -> Page:
    """Return a page of the tenant's webhooks, newest first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    cursor = id_cursor(after, "whk")
    rows = repository.page(session, tenant_id=tenant_id, limit=limit + 1, after=cursor)
    return Page.of([webhook_view(row) for row in rows], limit=limit)


def change(
    session: Session,
    *,
    tenant_id: str,
    webhook_id: str,
    body: Json,
    settings: Settings,
    still_so: StillSo = in_any_case,
) -> Json:
    """Change the address or the filter, switch off or on; switched on again, what waits is due at once.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        NotFound: the tenant has no such webhook.
        InvalidRequest: with every problem of the body.
    """
    wanted = _read(body, WebhookChange)
    if wanted.url is not None:
        check_url(wanted.url, settings)
    webhook = find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id, locked=True)
    still_so(webhook_view(webhook))
    webhook.url = wanted.url or webhook.url
    webhook.events = webhook.events if wanted.events is None else wanted.events
    if wanted.enabled is not None and wanted.enabled != webhook.enabled:
        switch(session, webhook, on=wanted.enabled, reason="by_request")
    webhook.updated_at = func.now()
    session.flush()
    session.refresh(webhook)
    return webhook_view(webhook)


def switch(session: Session, webhook: Webhook, *, on: bool, reason: str) -> None:
    """Let a webhook, whose row the caller has locked, be told of events or not."""
    webhook.enabled = on
    webhook.disabled_reason, webhook.disabled_at = (None, None) if on else (reason, func.now())
    if on:
        webhook.failures, webhook.failing_since, webhook.next_turn_at = 0, None, func.now()
        repository.hurry(session, webhook_id=webhook.id)


def replace_secret(session: Session, *, tenant_id: str, webhook_id: str) -> Json:
    """Make a new secret and show it once; the old one signs too for a day.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    webhook = find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id, locked=True)
    webhook.old_secret, webhook.secret = webhook.secret, new_secret()
    webhook.old_secret_until = func.now() + timedelta(hours=OLD_SECRET_HOURS)
    webhook.updated_at = func.now()
    session.flush()
    session.refresh(webhook)
    return {**webhook_view(webhook), "secret": webhook.secret}


def delete_webhook(session: Session, *, tenant_id: str, webhook_id: str, still_so: StillSo = in_any_case) -> None:
    """Delete a webhook, its log, and what was still to be delivered.

    ``still_so`` is asked about its view while it is locked, and may raise.

    Raises:
        NotFound: the tenant has no such webhook.
    """
    webhook = find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id)
    # First the jobs, then the webhook, as whoever has an event to tell locks them: the other way round is a deadlock.
    repository.detach_jobs(session, webhook_id=webhook.id)
    webhook = find_webhook(session, tenant_id=tenant_id, webhook_id=webhook_id, locked=True)
    still_so(webhook_view(webhook))
    session.delete(webhook)
    session.flush()


def check_url(url: str, settings: Settings) -> None:
    """Judge an address when it is given; a name that cannot be resolved now may be later.

    Raises:
        UrlNotAllowed: nothing is sent there, and nothing was.
    """
    if not settings.webhook_hosts:
        raise UrlNotAllowed("This service calls nobody: no host is allowed.", "Its operator can allow one.")
    resolve_place(read_place(url, settings.webhook_hosts), settings)


def check_job_webhook(session: Session, *, tenant_id: str, wanted: JobWebhook | None, settings: Settings) -> None:
    """Check what a job says of its webhook.

    Raises:
        InvalidRequest: ``unknown_webhook``, ``url_not_allowed``.
    """
    if wanted is None:
        return
    if wanted.url is not None:
        try:
            check_url(wanted.url, settings)
        except UrlNotAllowed as error:
            raise error.below("/webhook") from None
    elif not repository.keep(session, tenant_id=tenant_id, webhook_id=wanted.id or ""):
        detail = f"There is no webhook {wanted.id!r}."
        raise InvalidRequest([Problem("unknown_webhook", detail, "/webhook", "GET /v1/webhooks lists yours.")])


def attach(session: Session, job: Job, *, wanted: JobWebhook | None, settings: Settings) -> None:
    """Note on a job, before its first event, who is told; an address that is new becomes a webhook for such jobs.

    Raises:
        QuotaExceeded: the tenant has as many webhooks as it may have.
    """
    if wanted is None:
        return
    job.webhook_id, job.webhook_events = wanted.id, wanted.events
    if wanted.url is not None:
        job.webhook_id = _of_address(session, job.tenant_id, wanted.url, settings).id


def _of_address(session: Session, tenant_id: str, url: str, settings: Settings) -> Webhook:
    """Return the tenant's webhook with this address; of requests that bring a new one at once, one makes it."""
    found = repository.keep_by_url(session, tenant_id=tenant_id, url=url)
    if found is None:
        repository.lock(session, tenant_id=tenant_id)
        found = repository.keep_by_url(session, tenant_id=tenant_id, url=url)
    return found or _insert(session, tenant_id, url, [], settings)


def _insert(  # noqa: PLR0917 - the columns of a row
    session: Session, tenant_id: str, url: str, events: list[str], settings: Settings, secret: str | None = None
) -> Webhook:
    repository.lock(session, tenant_id=tenant_id)
    if repository.count(session, tenant_id=tenant_id) >= settings.max_tenant_webhooks:
        raise QuotaExceeded(
            f"{settings.max_tenant_webhooks} webhooks are the limit of a tenant.", hint="Delete one that is not needed."
        )
    made = Webhook(id=new_id("whk"), tenant_id=tenant_id, url=url, events=events, secret=secret or new_secret())
    session.add(made)
    session.flush()
    return made


def _read(body: Json, model: type[Request]) -> Request:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, model)) from None
