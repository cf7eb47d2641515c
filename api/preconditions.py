"""``If-Match``: change or delete a thing only if it still is as the client knows it (RFC 9110 §13.1.1).

Where a part of a thing moves by itself, its tag has two parts, ``"<thing>.<what moves>"``: a change of either makes a
new answer, yet whoever changes the thing need only know the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request

from api.errors import PreconditionFailed
from api.responses import encode, entity_tag
from services.preconditions import StillSo

_MOVING = re.compile(r'\.[0-9a-f]{16}"')


def two_part_tag(tag: str, moving: bytes) -> str:
    """Return the tag of a thing, of which ``tag`` is what stays, with what moves."""
    return f'{tag[:-1]}.{entity_tag(moving)[1:17]}"'


async def still_so(request: Request) -> StillSo:
    """Return a check of a thing's view, to be made when its row is locked: raises `PreconditionFailed`.

    It passes without ``If-Match``, with ``*``, and when one of the tags listed there is that of the view as GET sends
    it. A weak tag never matches.
    """
    wanted = request.headers.get("if-match")

    def check(view: Mapping[str, Any]) -> None:
        require_match(wanted, entity_tag(encode(view)))

    return check


def require_settled(request: Request, tag: str) -> None:
    """Require that ``If-Match``, if there is one, names the first part of a tag, whatever the second is by now.

    Raises:
        PreconditionFailed: it names others.
    """
    wanted = request.headers.get("if-match")
    require_match(_MOVING.sub('"', wanted) if wanted else wanted, tag)


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
