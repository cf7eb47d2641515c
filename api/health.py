"""``/healthz``, ``/readyz`` and ``/openapi.json``: for who has no key yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response

from api.dependencies import Parts, ServiceParts
from api.openapi import answer, problems
from api.query import no_query
from api.responses import json_answer, tagged_bytes
from api.views import HealthView, ReadyView
from services.health import Component, StoreProbe, check_database, check_redis

router = APIRouter(tags=["service"], dependencies=[Depends(no_query)])

T = TypeVar("T")

_DEADLINE_SECONDS = 2.0
_LATE = Component("down", f"No answer within {_DEADLINE_SECONDS:g} s.")


@router.get("/healthz", summary="Is the process alive?", responses={**answer(200, HealthView, "Yes."), **problems(422)})
async def healthz() -> Response:
    """Answer as long as this process can; looks at nothing else."""
    return json_answer({"status": "ok"})


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses={
        **answer(200, ReadyView, "Yes; `degraded` says what is missing."),
        **answer(503, ReadyView, "No: PostgreSQL is away."),
        **problems(422),
    },
)
async def readyz(parts: ServiceParts) -> Response:
    """Say how PostgreSQL, Redis, the workers and the scheduler are, and the object store where there is one.

    Without any but PostgreSQL jobs are still accepted and kept: that is `degraded`, and 200. Without PostgreSQL nothing
    can be answered: 503.
    """
    components = await _components(parts)
    words = {component.status for component in components.values()}
    down = components["database"].status == "down"
    status = "down" if down else "ok" if words == {"ok"} else "degraded"
    shown = {name: component.to_dict() for name, component in components.items()}
    return json_answer(
        {"status": status, "components": shown},
        status=HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK,
        headers={"Retry-After": "2"} if down else None,
    )


@router.get("/openapi.json", summary="This document", responses={200: {"description": "OpenAPI 3.1."}, **problems(422)})
def openapi_json(request: Request) -> Response:
    """Return the description of every route, for people and for generators."""
    return tagged_bytes(request, *request.app.state.document())


async def _components(parts: Parts) -> dict[str, Component]:
    """Ask all at once; who does not answer in time counts as down, so that a hung server cannot hang this."""
    found = {
        "database": _LATE,
        "redis": Component("degraded", _LATE.detail),
        "workers": Component("degraded", "Not known."),
        "scheduler": Component("degraded", "Not known."),
    }
    if parts.store is not None:
        found["object_store"] = Component("degraded", _LATE.detail)

    async def ask_database() -> None:
        found.update(await _in_thread(partial(check_database, parts.database)))

    async def ask_redis() -> None:
        found["redis"] = await _in_thread(partial(check_redis, parts.redis))

    async def ask_store(store: StoreProbe) -> None:
        found["object_store"] = await _in_thread(store.look)

    with anyio.move_on_after(_DEADLINE_SECONDS):
        async with anyio.create_task_group() as group:
            group.start_soon(ask_database)
            group.start_soon(ask_redis)
            if parts.store is not None:
                group.start_soon(ask_store, parts.store)
    return found


async def _in_thread(check: Callable[[], T]) -> T:
    return await anyio.to_thread.run_sync(check, abandon_on_cancel=True)
