"""The table of scopes: every route is in it, and what it says is what the routes do."""

import re

import pytest
from fastapi.routing import iter_route_contexts

from api import scopes
from api.audited import AuditedRoute
from api.dependencies import changing, looking
from services.identifiers import new_id
from services.tenants.scopes import EVERYTHING, SCOPES

PUBLIC = {
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/{name}",
    "GET /metrics",
}
"""What no key opens or closes; the last is for the operator's token, see its own tests."""


def contexts(app):
    for context in iter_route_contexts(app.routes):
        for method in context.methods:
            if f"{method} {context.path}" not in PUBLIC:
                yield f"{method} {context.path}", context


def asked(dependant):
    """Every function that a route's dependency tree asks."""
    yield dependant.call
    for one in dependant.dependencies:
        yield from asked(one)


def test_every_route_is_in_the_table_and_every_line_is_a_route(app):
    assert {name for name, _ in contexts(app)} == set(scopes.NEEDED)
    assert len(scopes.NEEDED) == sum(len(routes) for routes in scopes.ROUTES.values())
    assert set(scopes.ROUTES) <= {*SCOPES, scopes.ANY_KEY}


def test_a_route_that_was_forgotten_wants_everything():
    assert scopes.needed("POST /v1/brand-new") == EVERYTHING


def test_what_changes_something_says_so_wants_to_write_and_is_written_down(app):
    for name, context in contexts(app):
        writes = scopes.NEEDED[name].endswith(":write")
        functions = set(asked(context.dependant))
        assert (changing in functions) == writes, name
        assert (looking in functions) != writes, name
        audited = isinstance(context.original_route, AuditedRoute)
        assert audited or not writes, f"{name} is not written down: give its router route_class=AuditedRoute"


def test_nothing_but_get_is_for_looking_unless_it_keeps_nothing(app):
    """A POST that keeps nothing is for readers; the list is short, and a new one is a decision."""
    looks = {
        name for name, _ in contexts(app) if not name.startswith("GET") and not scopes.NEEDED[name].endswith("write")
    }
    assert looks == {
        "POST /v1/models/validate",
        "POST /v1/graphs",
        "POST /v1/graphs/diff",
        "POST /v1/graphs/capture",
        "POST /v1/graphs/compare",
        "POST /v1/checkpoints/{checkpoint_id}/predict",
    }
    assert not any(scopes.NEEDED[name].endswith("write") for name, _ in contexts(app) if name.startswith("GET"))


def test_the_document_names_the_scope_of_each_operation_and_says_what_too_many_requests_get(app):
    for name, scope in scopes.NEEDED.items():
        method, path = name.split(" ")
        responses = app.openapi()["paths"][path][method.lower()]["responses"]
        assert (f"`{scope}`" in responses["403"]["description"]) == (scope != scopes.ANY_KEY), name
        assert "Retry-After" in responses["429"]["headers"], name


@pytest.fixture(scope="module")
def all_scopes():
    return [scope for scope in SCOPES if scope != EVERYTHING]


def test_every_route_refuses_a_key_that_has_all_scopes_but_its_own(app, make_caller, all_scopes, problem):
    tenant = make_caller()
    without = {
        scope: make_caller(scopes=[one for one in all_scopes if one != scope], tenant_id=tenant.tenant_id).client
        for scope in scopes.ROUTES
        if scope != scopes.ANY_KEY
    }
    for name, scope in scopes.NEEDED.items():
        method, path = name.split(" ")
        address = re.sub(r"\{\w+\}", new_id("job"), path)
        if scope == scopes.ANY_KEY:
            assert without["jobs:read"].request(method, address).status_code in (200, 404), name
            continue
        refused = problem(without[scope].request(method, address), 403)
        assert refused["code"] == "insufficient_scope", name
        assert scope in refused["detail"], name
