"""``Idempotency-Key`` on calls that act: a repeat gets the first one's answer, and nothing happens twice.

Creating a job, a sweep or an upload keeps its key in its service; here are the calls whose whole effect is one
transaction of the edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from sqlalchemy.orm import Session

from api.dependencies import Writer, WriteSession
from api.responses import json_answer
from services.idempotency import service as idempotency

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Any text of yours, up to 255 characters: a request repeated with it within a day is answered as "
        "the first was, and does nothing more."
    ),
]
REPLAYED = {"Idempotent-Replayed": "true"}

Acted = tuple[dict[str, Any], HTTPStatus]


@dataclass(frozen=True, slots=True)
class Once:
    """One request that acts, with the key that may have come with it."""

    session: Session
    tenant_id: str
    call: str
    key: str | None

    def __call__(
        self,
        act: Callable[[], Acted],
        *,
        body: dict[str, Any] | None = None,
        location: Callable[[dict[str, Any]], str] | None = None,
    ) -> Response:
        """Answer with what ``act`` returns, or with what it returned when the same request came with this key before.

        ``location`` tells the address of what was made from its view.

        Raises:
            MalformedRequest, IdempotencyInProgress, IdempotencyMismatch: see `services.idempotency.service`.
        """
        if self.key is None:
            return _answer(*act(), location=location)
        asked = {"call": self.call, "body": body}
        known = idempotency.find_replay(self.session, tenant_id=self.tenant_id, key=self.key, body=asked)
        if known is not None:
            return _answer(known["view"], HTTPStatus(known["status"]), location=location, replayed=True)
        view, status = act()
        kept = {"view": view, "status": int(status)}
        idempotency.remember(self.session, tenant_id=self.tenant_id, key=self.key, body=asked, response=kept)
        return _answer(view, status, location=location)


async def once(request: Request, session: WriteSession, caller: Writer, idempotency_key: IdempotencyKey = None) -> Once:
    """Return what lets an endpoint act once."""
    return Once(session, caller.tenant_id, f"{request.method} {request.url.path}", idempotency_key)


ActOnce = Annotated[Once, Depends(once)]


def made_answer(
    view: dict[str, Any],
    location: str,
    *,
    replayed: bool,
    status: HTTPStatus = HTTPStatus.CREATED,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with what was made, and say whether an earlier request with the same key made it."""
    known = REPLAYED if replayed else {}
    return json_answer(view, status=status, headers={"Location": location, **known, **(headers or {})})


def _answer(
    view: dict[str, Any],
    status: HTTPStatus,
    *,
    location: Callable[[dict[str, Any]], str] | None,
    replayed: bool = False,
) -> Response:
    if location is not None:
        return made_answer(view, location(view), replayed=replayed, status=status)
    return json_answer(view, status=status, headers=REPLAYED if replayed else None)
