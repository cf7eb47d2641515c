"""Default deny: every route wants a key, and a refusal tells nothing."""

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from services.identifiers import new_id
from services.logging import JsonFormatter
from services.tenants import keys, service
from tests.factories import add_job

PUBLIC = {"/healthz", "/readyz", "/openapi.json", "/docs"}
PAGE = "/docs"
"""Below it lie the files of the page that shows the document; they are not in it themselves."""


def all_routes(app):
    """Every (method, path) that the application serves, however deep its routers are nested."""
    for context in iter_route_contexts(app.routes):
        assert isinstance(context.original_route, APIRoute), f"{context.original_route} is not checked by anybody"
        for method in context.methods:
            yield method, re.sub(r"\{\w+\}", new_id("job"), context.path)


def test_every_route_but_the_public_ones_refuses_who_has_no_key(app, anonymous, problem):
    routes = list(all_routes(app))
    assert len(routes) >= 10
    assert {path for _, path in routes} >= PUBLIC
    for method, path in routes:
        answer = anonymous.request(method, path, headers={"Content-Type": "application/json"})
        if path in PUBLIC:
            assert answer.status_code == 200, (method, path)
        elif path.startswith(f"{PAGE}/"):
            assert problem(answer, 404)["code"] == "not_found", (method, path)
        else:
            assert problem(answer, 401)["code"] == "unauthenticated", (method, path)


def test_the_walk_sees_what_the_document_lists(app):
    documented = {
        (method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations
    }
    walked = {(method, context.path) for context in iter_route_contexts(app.routes) for method in context.methods}
    assert documented == {(method, path) for method, path in walked if not path.startswith(PAGE)}


def test_no_key_a_malformed_one_and_a_wrong_one_get_the_same_answer(anonymous, caller, problem):
    wrong_secret = keys.generate()[0]
    mixed = caller.key[:12] + wrong_secret[12:55]
    offers = [
        None,
        "",
        "Bearer",
        "Bearer nonsense",
        f"Basic {caller.key}",
        caller.key,
        f"Bearer {caller.key}x",
        f"Bearer {caller.key[:-1]}",
        f"Bearer {wrong_secret}",
        f"Bearer {mixed}{keys._checksum(mixed)}",
        "Bearer mw_\xe9",
    ]
    seen = set()
    for offer in offers:
        headers = {} if offer is None else {"Authorization": offer.encode("latin-1")}
        answer = anonymous.get("/v1/jobs", headers=headers)
        found = problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        seen.add(answer.text.replace(found["request_id"], ""))
    assert len(seen) == 1


def test_the_scheme_may_be_spelt_in_any_case(anonymous, caller):
    for header in (f"bearer {caller.key}", f"BEARER  {caller.key}"):
        assert anonymous.get("/v1/jobs", headers={"Authorization": header}).status_code == 200


def test_a_refused_client_cannot_make_us_read_its_body(anonymous, problem):
    answer = anonymous.post("/v1/jobs", content=b"x" * (2 << 20))
    assert problem(answer, 401)["code"] == "unauthenticated"


def test_scopes_separate_reading_from_writing(make_caller, database, problem):
    reader = make_caller(scopes=["jobs:read"])
    writer = make_caller(scopes=["jobs:write"], tenant_id=reader.tenant_id)
    everything = make_caller(tenant_id=reader.tenant_id)
    job = add_job(database, reader.tenant_id)
    assert reader.client.get(f"/v1/jobs/{job}").status_code == 200
    assert problem(reader.client.post("/v1/jobs", json={}), 403)["code"] == "insufficient_scope"
    assert problem(reader.client.post(f"/v1/jobs/{job}/cancel"), 403)["code"] == "insufficient_scope"
    for path in ("/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/metrics"):
        assert "jobs:read" in problem(writer.client.get(path), 403)["detail"]
    assert "checkpoints:read" in problem(reader.client.get(f"/v1/jobs/{job}/checkpoints"), 403)["detail"]
    assert writer.client.post(f"/v1/jobs/{job}/cancel").status_code == 200
    assert everything.client.get(f"/v1/jobs/{job}").status_code == 200


def test_expired_and_revoked_keys_are_told_so_and_revocation_is_felt_within_a_second(make_caller, database, problem):
    expired = make_caller(expires_at=datetime.now(UTC) - timedelta(minutes=1))
    assert problem(expired.client.get("/v1/jobs"), 401)["code"] == "key_expired"

    revoked = make_caller()
    assert revoked.client.get("/v1/jobs").status_code == 200
    with database.session() as session:
        service.revoke_key(session, tenant_id=revoked.tenant_id, key_id=keys.parse(revoked.key).key_id)
    time.sleep(1.0)
    assert problem(revoked.client.get("/v1/jobs"), 401)["code"] == "key_revoked"


def access_lines(caplog, count):
    """Wait for so many access lines: each is written just after its answer."""
    deadline = time.monotonic() + 5
    while True:
        lines = [JsonFormatter().format(record) for record in caplog.records if record.name == "api.access"]
        if len(lines) == count or time.monotonic() > deadline:
            assert len(lines) == count
            return lines
        time.sleep(0.01)


def test_a_key_never_reaches_the_log(caller, caplog):
    caplog.set_level("INFO")
    caller.client.get("/v1/jobs", params={"after": caller.key})
    caller.client.get(f"/v1/jobs/{caller.key}")
    lines = access_lines(caplog, 2)
    assert caller.key[12:30] not in "\n".join(lines)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_access_line_names_request_tenant_status_and_time(caller, caplog, method):
    caplog.set_level("INFO")
    answer = caller.client.request(method, "/v1/jobs?limit=1")
    line = json.loads(access_lines(caplog, 1)[0])
    assert line["path"] == "/v1/jobs"
    assert (line["method"], line["status"], line["tenant_id"]) == (method, answer.status_code, caller.tenant_id)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["duration_ms"] > 0
