"""``Idempotency-Key`` on calls that act: a repeat gets the first one's answer, and nothing happens twice.

Creating a job, a sweep or an upload keeps its key in its service; here are the calls whose whole effect is one
transaction of the edge.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from sqlalchemy.orm import Session

from api.responses import json_answer
from services.idempotency import service as idempotency
from services.tenants.service import Principal

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Any text of yours, up to 255 characters: a request repeated with it within a day is answered as "
        "the first was, and does nothing more."
    ),
]
REPLAYED = {"Idempotent-Replayed": "true"}

Acted = tuple[dict[str, Any], HTTPStatus]


def act_once(
    session: Session,
    act: Callable[[], Acted],
    *,
    request: Request,
    caller: Principal,
    key: str | None,
    body: dict[str, Any] | None = None,
    location: Callable[[dict[str, Any]], str] | None = None,
) -> Response:
    """Answer with what ``act`` returns, or with what it returned when the same request came with this key before.

    ``location`` tells the address of what was made from its view.

    Raises:
        MalformedRequest, IdempotencyInProgress, IdempotencyMismatch: see `services.idempotency.service`.
    """
    if key is None:
        return _answer(*act(), location=location)
    asked = {"call": f"{request.method} {request.url.path}", "body": body}
    known = idempotency.find_replay(session, tenant_id=caller.tenant_id, key=key, body=asked)
    if known is not None:
        return _answer(known["view"], HTTPStatus(known["status"]), location=location, headers=REPLAYED)
    view, status = act()
    stored = {"view": view, "status": int(status)}
    idempotency.remember(session, tenant_id=caller.tenant_id, key=key, body=asked, response=stored)
    return _answer(view, status, location=location)


def _answer(
    view: dict[str, Any],
    status: HTTPStatus,
    *,
    location: Callable[[dict[str, Any]], str] | None,
    headers: dict[str, str] | None = None,
) -> Response:
    where = {"Location": location(view)} if location is not None else {}
    return json_answer(view, status=status, headers={**where, **(headers or {})})
