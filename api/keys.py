"""``/v1/keys``: make, list, look, rotate, revoke."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from api.account_views import KeyList, KeyView, NewKeyView
from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import Reader, ServiceParts, Writer, WriteSession
from api.idempotency import made_answer
from api.key_examples import KEYS, ROTATIONS
from api.openapi import answer, json_request, problems
from api.query import PageQuery, no_query
from api.responses import json_answer, list_answer
from services.tenants import granting
from services.tenants.granting import Granted

router = APIRouter(prefix="/keys", tags=["keys"], route_class=AuditedRoute)

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Any text of yours, up to 255 characters: repeating a request with it makes one key, not two. "
        "The repeat's answer has no `api_key`: if the first one was lost, rotate the key."
    ),
]


@router.post(
    "",
    summary="Make a key",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, NewKeyView, "The key: `api_key` is shown this once."),
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("KeyRequest", KEYS),
)
def create_key(
    *,
    caller: Writer,
    body: JsonBody,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a key for your tenant. Of its secret only a digest is kept: what this answer shows cannot be shown again.

    It can have no scope that yours lacks, and cannot last longer than yours.
    """
    made = granting.grant(session, caller=caller, body=body, settings=parts.settings, idempotency_key=idempotency_key)
    return _shown_once(made)


@router.get(
    "",
    summary="List keys",
    responses={**answer(200, KeyList, "A page of your tenant's keys, newest first."), **problems(401, 403, 422, 503)},
)
def list_keys(query: Annotated[PageQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of your tenant's keys, newest first, also those that are no longer good; never their secrets."""
    with parts.database.read_session() as session:
        page = granting.list_keys(session, tenant_id=caller.tenant_id, limit=query.limit, after=query.after)
    return list_answer(page)


@router.get(
    "/self",
    summary="Look at the key that you use",
    dependencies=[Depends(no_query)],
    responses={**answer(200, KeyView, "Your key."), **problems(401, 403, 422, 503)},
)
def get_own_key(parts: ServiceParts, caller: Reader) -> Response:
    """Return the key that this request was made with: its scopes and when it ends. Every key may ask this."""
    with parts.database.read_session() as session:
        found = granting.get_key(session, tenant_id=caller.tenant_id, key_id=caller.key_id)
    return json_answer(found)


@router.get(
    "/{key_id}",
    summary="Look at a key",
    dependencies=[Depends(no_query)],
    responses={**answer(200, KeyView, "The key, without its secret."), **problems(401, 403, 404, 422, 503)},
)
def get_key(key_id: str, parts: ServiceParts, caller: Reader) -> Response:
    """Return a key: what it may do, when it ends, when it was last used (to the minute), what it was rotated to."""
    with parts.database.read_session() as session:
        found = granting.get_key(session, tenant_id=caller.tenant_id, key_id=key_id)
    return json_answer(found)


@router.post(
    "/{key_id}/rotate",
    summary="Replace a key",
    status_code=HTTPStatus.CREATED,
    dependencies=[Depends(no_query)],
    responses={
        **answer(201, NewKeyView, "The new key: `api_key` is shown this once."),
        **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=json_request("RotateRequest", ROTATIONS),
)
def rotate_key(
    *, key_id: str, caller: Writer, body: JsonBody, session: WriteSession, idempotency_key: IdempotencyKey = None
) -> Response:
    """Make a key with the same name, scopes and lifetime, and let the old one end after `overlap_seconds`.

    Meanwhile both are good, so that whoever uses the old one can be given the new one. A key is rotated once; one that
    is no longer good, or has been rotated, answers 409 `key_not_active`.
    """
    made = granting.rotate(session, caller=caller, key_id=key_id, body=body, idempotency_key=idempotency_key)
    return _shown_once(made)


@router.post(
    "/{key_id}/revoke",
    summary="Revoke a key",
    dependencies=[Depends(no_query)],
    responses={**answer(200, KeyView, "The key, revoked."), **problems(401, 403, 404, 422, 503)},
)
def revoke_key(key_id: str, session: WriteSession, caller: Writer) -> Response:
    """End a key for good; asking twice is asking once. Every process of the service refuses it within a second.

    You may revoke the key that you use. Keys that it made go on: revoke them too if they may be in wrong hands.
    """
    return json_answer(granting.revoke(session, tenant_id=caller.tenant_id, key_id=key_id))


def _shown_once(made: Granted) -> Response:
    headers = {"Cache-Control": "no-store"}
    return made_answer(made.key, made.key["links"]["self"], replayed=made.replayed, headers=headers)
