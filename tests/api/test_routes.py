"""The one list of routes: nothing is nested in it, and what would ask nobody cannot be added."""

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from api.routes import add_routes


def test_every_route_is_in_the_list_itself(app):
    assert all(isinstance(route, APIRoute) for route in app.routes)


def test_what_is_no_route_with_dependencies_is_refused():
    router = APIRouter()
    router.mount("/files", FastAPI())
    with pytest.raises(TypeError):
        add_routes(FastAPI(), router)


def test_polls_are_found_first(app):
    """The list is walked from its beginning; what is asked most stands there."""
    names = [f"{sorted(route.methods)[0]} {route.path}" for route in app.routes]
    assert names.index("GET /v1/jobs/{job_id}") < 5
