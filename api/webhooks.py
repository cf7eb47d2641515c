"""``/v1/webhooks``: who is told of events by POST, the log of what was delivered, a test, one more time."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import Reader, ServiceParts, Writer, WriteSession
from api.idempotency import Acted, ActOnce, IdempotencyKey, made_answer
from api.openapi import answer, json_request, problems
from api.query import CommaSeparated, PageQuery, no_query, unknown_states
from api.responses import json_answer, list_answer
from api.webhook_answers import StillAsked, changed, looked_at
from api.webhook_examples import CHANGES, WEBHOOKS
from api.webhook_views import (
    WebhookDeliveryList,
    WebhookDeliveryView,
    WebhookList,
    WebhookSecretView,
    WebhookView,
)
from services.webhooks import deliveries, service

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=AuditedRoute)

_NOT_KEPT = {"Cache-Control": "no-store"}


class DeliveriesQuery(PageQuery):
    """``GET /v1/webhooks/{id}/deliveries``."""

    status: CommaSeparated = Field([], description=f"Only those that are {', '.join(deliveries.STATES)}.")


@router.post(
    "",
    summary="Be told of events",
    status_code=HTTPStatus.CREATED,
    responses={
        **answer(201, WebhookSecretView, "The webhook, with its secret, which is shown this once."),
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("WebhookRequest", WEBHOOKS),
)
def create_webhook(
    *,
    caller: Writer,
    _query: Annotated[None, Depends(no_query)],
    body: JsonBody,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have events of your jobs sent to an https address, signed as Standard Webhooks 1.0 says.

    Each event comes at least once, with its id as `webhook-id`, whatever happens here meanwhile; a receiver that fails
    is tried again over 32 hours. An address that the operator does not allow, or that leads to an inner one, answers
    422 `url_not_allowed`, and nothing was sent there.
    """
    made = service.create(
        session,
        tenant_id=caller.tenant_id,
        body=body,
        settings=parts.settings,
        idempotency_key=idempotency_key,
    )
    where = f"/v1/webhooks/{made.webhook['id']}"
    return made_answer(made.webhook, where, replayed=made.replayed, headers=_NOT_KEPT)


@router.get(
    "",
    summary="List webhooks",
    responses={**answer(200, WebhookList, "A page of your webhooks, newest first."), **problems(401, 403, 422, 503)},
)
def list_webhooks(query: Annotated[PageQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of your webhooks, those that jobs brought with them included."""
    with parts.database.read_session() as session:
        page = service.list_webhooks(session, tenant_id=caller.tenant_id, limit=query.limit, after=query.after)
    return list_answer(page)


@router.get(
    "/{webhook_id}",
    summary="Look at a webhook",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, WebhookView, "The webhook as it is now."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_webhook(webhook_id: str, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return a webhook: what it asks for, whether it is on, since when it fails."""
    with parts.database.read_session() as session:
        found = service.get_webhook(session, tenant_id=caller.tenant_id, webhook_id=webhook_id)
    return looked_at(request, found)


@router.patch(
    "/{webhook_id}",
    summary="Change a webhook, switch it off or on",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, WebhookView, "The webhook, changed."),
        **problems(400, 401, 403, 404, 408, 412, 413, 415, 422, 503),
    },
    openapi_extra=json_request("WebhookChange", CHANGES),
)
def change_webhook(
    *,
    webhook_id: str,
    caller: Writer,
    body: JsonBody,
    still_asked: StillAsked,
    session: WriteSession,
    parts: ServiceParts,
) -> Response:
    """Change the address or the filter, or switch it off or on.

    While it is off no event is kept for it. What was still to be delivered when it was switched off is tried again at
    once when it is switched on. What it was told meanwhile is no change to `If-Match`.
    """
    view = service.change(
        session,
        tenant_id=caller.tenant_id,
        webhook_id=webhook_id,
        body=body,
        settings=parts.settings,
        still_so=still_asked,
    )
    return changed(view)


@router.delete(
    "/{webhook_id}",
    summary="Delete a webhook",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[Depends(no_query)],
    responses={204: {"description": "It is gone, and its log with it."}, **problems(401, 403, 404, 412, 422, 503)},
)
def delete_webhook(webhook_id: str, caller: Writer, still_asked: StillAsked, session: WriteSession) -> Response:
    """Delete a webhook, the log of its deliveries, and what was still to be delivered."""
    service.delete_webhook(session, tenant_id=caller.tenant_id, webhook_id=webhook_id, still_so=still_asked)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/{webhook_id}/rotate-secret",
    summary="Replace the secret of a webhook",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, WebhookSecretView, "The webhook with its new secret, which is shown this once."),
        **problems(400, 401, 403, 404, 409, 422, 503),
    },
)
def rotate_secret(webhook_id: str, caller: Writer, session: WriteSession, once: ActOnce) -> Response:
    """Make a new secret; for a day each delivery is signed with both, so that receivers can change over.

    This is also how to get the secret of a webhook that a job brought with it.
    """

    def act() -> Acted:
        return service.replace_secret(session, tenant_id=caller.tenant_id, webhook_id=webhook_id), HTTPStatus.OK

    answer = once(act)
    answer.headers.update(_NOT_KEPT)
    return answer


@router.post(
    "/{webhook_id}/test",
    summary="Send a test event",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(202, WebhookDeliveryView, "It will be sent in a moment; `Location` is where to look."),
        **problems(400, 401, 403, 404, 409, 422, 503),
    },
)
def test_webhook(webhook_id: str, caller: Writer, session: WriteSession, once: ActOnce) -> Response:
    """Send an event of type `webhook.test` to this webhook, whatever it asks for.

    One that is switched off answers 409 `webhook_disabled`.
    """

    def act() -> Acted:
        sent = deliveries.send_test(session, tenant_id=caller.tenant_id, webhook_id=webhook_id)
        return sent, HTTPStatus.ACCEPTED

    return once(act, location=_address)


@router.get(
    "/{webhook_id}/deliveries",
    summary="List the deliveries of a webhook",
    responses={
        **answer(200, WebhookDeliveryList, "A page of deliveries, newest first."),
        **problems(401, 403, 404, 422, 503),
    },
)
def list_deliveries(
    webhook_id: str, query: Annotated[DeliveriesQuery, Query()], parts: ServiceParts, caller: Reader
) -> Response:
    """Return what was sent, with status, latency and the beginning of each answer; kept for 30 days."""
    unknown_states(query.status, deliveries.STATES)
    with parts.database.read_session() as session:
        page = deliveries.list_deliveries(
            session,
            tenant_id=caller.tenant_id,
            webhook_id=webhook_id,
            limit=query.limit,
            after=query.after,
            states=query.status,
        )
    return list_answer(page)


@router.get(
    "/{webhook_id}/deliveries/{event_id}",
    summary="Look at a delivery",
    dependencies=[Depends(no_query)],
    responses={**answer(200, WebhookDeliveryView, "The delivery as it is now."), **problems(401, 403, 404, 422, 503)},
)
def get_delivery(webhook_id: str, event_id: str, parts: ServiceParts, caller: Reader) -> Response:
    """Return one delivery with its tries."""
    with parts.database.read_session() as session:
        found = deliveries.get_delivery(session, tenant_id=caller.tenant_id, webhook_id=webhook_id, event_id=event_id)
    return json_answer(found)


@router.post(
    "/{webhook_id}/deliveries/{event_id}/redeliver",
    summary="Deliver an event again",
    status_code=HTTPStatus.ACCEPTED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(202, WebhookDeliveryView, "It will be sent in a moment; `Location` is where to look."),
        **problems(400, 401, 403, 404, 409, 422, 503),
    },
)
def redeliver(webhook_id: str, event_id: str, caller: Writer, session: WriteSession, once: ActOnce) -> Response:
    """Deliver an event once more, with the same id, whether it was delivered, given up, or still waits."""

    def act() -> Acted:
        found = deliveries.redeliver(session, tenant_id=caller.tenant_id, webhook_id=webhook_id, event_id=event_id)
        return found, HTTPStatus.ACCEPTED

    return once(act, location=_address)


def _address(delivery: dict[str, object]) -> str:
    return f"/v1/webhooks/{delivery['webhook_id']}/deliveries/{delivery['id']}"
