"""``If-Match``: change or delete a thing only if it still is as the client knows it (RFC 9110 §13.1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from api.errors import PreconditionFailed
from api.responses import encode, entity_tag
from services.preconditions import StillSo


async def still_so(request: Request) -> StillSo:
    """Return a check of a thing's view, to be made when its row is locked: raises `PreconditionFailed`.

    It passes without ``If-Match``, with ``*``, and when one of the tags listed there is that of the view as GET sends
    it. A weak tag never matches.
    """
    wanted = request.headers.get("if-match")

    def check(view: Mapping[str, Any]) -> None:
        require_match(wanted, entity_tag(encode(view)))

    return check


def require_match(wanted: str | None, tag: str) -> None:
    """Compare the value of ``If-Match`` with the tag that the thing has now.

    Raises:
        PreconditionFailed: no tag listed there is this one.
    """
    if wanted is None or wanted.strip() == "*":
        return
    if tag not in (one.strip() for one in wanted.split(",")):
        raise PreconditionFailed(hint="Look at it again, and decide with its new ETag.")


IfMatch = Annotated[StillSo, Depends(still_so)]
