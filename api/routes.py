"""Puts the routes of many routers into one list, in which a request's route is looked for once.

FastAPI's ``include_router`` keeps routers within routers and asks each level once more than the one above: before a
route of the last one was found, its path had been compared with that of every route three times.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends
from fastapi.routing import APIRoute


def add_routes(app: FastAPI, router: APIRouter, *, prefix: str = "", dependencies: Sequence[Depends] = ()) -> None:
    """Add the router's routes below ``prefix``, each of which asks ``dependencies`` before its own.

    Raises:
        TypeError: one is no route of FastAPI's, and would ask nobody.
    """
    for route in router.routes:
        if not isinstance(route, APIRoute):
            raise TypeError(f"{route} cannot be added.")
        app.router.add_api_route(
            prefix + route.path,
            route.endpoint,
            response_model=route.response_model,
            status_code=route.status_code,
            tags=route.tags,
            dependencies=[*dependencies, *route.dependencies],
            summary=route.summary,
            description=route.description,
            response_description=route.response_description,
            responses=route.responses,
            deprecated=route.deprecated,
            methods=route.methods,
            operation_id=route.operation_id,
            include_in_schema=route.include_in_schema,
            response_class=route.response_class,
            name=route.name,
            route_class_override=type(route),
            openapi_extra=route.openapi_extra,
        )
