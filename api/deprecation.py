"""How a route is retired: it says so in every answer, months before it goes (RFC 9745, RFC 8594)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Depends, Request

_KEY = "announcements"


def deprecated(*, since: datetime, sunset: datetime, successor: str) -> dict[str, Any]:
    """Return the arguments that a route takes to be deprecated ``since``, gone at ``sunset``; times in UTC.

    ``@router.get("/old", **deprecated(…))``: each answer, refusals too, has ``Deprecation``, ``Sunset`` and a ``Link``
    to its ``successor``, and the OpenAPI document says ``deprecated``.
    """
    announced = [
        (b"deprecation", f"@{int(since.timestamp())}".encode("ascii")),
        (b"sunset", format_datetime(sunset, usegmt=True).encode("ascii")),
        (b"link", f'<{successor}>; rel="successor-version"'.encode("ascii")),
    ]
    return {"deprecated": True, "dependencies": [Depends(_announcer(announced))]}


def announcements(state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the headers that the route of a request with this ``state`` announces its end with."""
    found: list[tuple[bytes, bytes]] = state.get(_KEY, [])
    return found


def _announcer(announced: list[tuple[bytes, bytes]]) -> Callable[[Request], Awaitable[None]]:
    async def announce(request: Request) -> None:
        setattr(request.state, _KEY, announced)

    return announce
