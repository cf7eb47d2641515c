"""A webhook as it is answered: its tag tells what was asked of it from how it fares, which each delivery changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from api.preconditions import require_settled, two_part_tag
from api.responses import encode, entity_tag, json_answer, tagged_bytes
from services.preconditions import StillSo

_FARES = ("failing_since", "last_delivered_at")


def looked_at(request: Request, view: Mapping[str, Any]) -> Response:
    """Return a webhook with its tag, or 304 when the client has it."""
    return tagged_bytes(request, encode(view), _tag(view))


def changed(view: Mapping[str, Any]) -> Response:
    """Return a webhook that was changed, with its new tag."""
    return json_answer(view, headers={"ETag": _tag(view)})


async def still_asked(request: Request) -> StillSo:
    """Return a check that a webhook is asked what the client knows (``If-Match``), whatever it was told meanwhile.

    It is to be made when its row is locked, and raises `PreconditionFailed`.
    """

    def check(view: Mapping[str, Any]) -> None:
        require_settled(request, _asked(view))

    return check


def _asked(view: Mapping[str, Any]) -> str:
    return entity_tag(encode({name: value for name, value in view.items() if name not in _FARES}))


def _tag(view: Mapping[str, Any]) -> str:
    return two_part_tag(_asked(view), encode({name: view[name] for name in _FARES}))


StillAsked = Annotated[StillSo, Depends(still_asked)]
