"""Bad inputs of HTTP itself: keys, ids, bodies, JSON, idempotency keys, ranges, lists, methods."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import httpx

from api.body import BodyLimits
from services.idempotency import service as idempotency
from services.identifiers import new_id
from services.tenants import keys, service
from tests.api.bad_inputs.case import JSON, REQUEST, Case, Row, World, get, raw
from tests.api.server import Answer, connected, read_answer
from tests.api.stored import add_checkpoint
from tests.factories import add_job

MIB = 1 << 20


def _offer(text: str):
    return lambda world: world.anonymous.get("/v1/jobs", headers={"Authorization": text})


def _expired(world: World) -> httpx.Response:
    return world.make_caller(expires_at=datetime.now(UTC) - timedelta(minutes=1)).client.get("/v1/jobs")


def _revoked(world: World) -> httpx.Response:
    caller = world.make_caller()
    with world.database.session() as session:
        service.revoke_key(session, tenant_id=caller.tenant_id, key_id=keys.parse(caller.key).key_id)
    return caller.client.get("/v1/jobs")


KEYS: Row = (
    Case(
        "no key", lambda world: world.anonymous.get("/v1/jobs"), 401, "unauthenticated", headers=("www-authenticate",)
    ),
    Case("malformed key", _offer("Bearer nonsense"), 401, "unauthenticated", headers=("www-authenticate",)),
    Case("wrong key", _offer(f"Bearer {keys.generate()[0]}"), 401, "unauthenticated", headers=("www-authenticate",)),
    Case("expired key", _expired, 401, "key_expired"),
    Case("revoked key", _revoked, 401, "key_revoked"),
    Case(
        "scope missing",
        lambda world: world.make_caller(scopes=["jobs:read"]).client.post("/v1/jobs", json=REQUEST),
        403,
        "insufficient_scope",
        says=("jobs:write",),
    ),
)


def _of_another_tenant(world: World) -> httpx.Response:
    theirs = add_job(world.database, world.make_caller().tenant_id)
    return world.client.get(f"/v1/jobs/{theirs}")


IDS: Row = (
    Case("other tenant's id", _of_another_tenant, 404, "not_found"),
    Case("random id", lambda world: world.client.get(f"/v1/jobs/{new_id('job')}"), 404, "not_found"),
    Case("../../etc/passwd", get("/v1/jobs/..%2f..%2fetc%2fpasswd"), 404, "not_found"),
    Case("../../etc/passwd as a name", get("/v1/jobs/..%5c..%5cetc%5cpasswd"), 422, "invalid_id", ""),
    Case("%252e", get("/v1/jobs/%252e%252e"), 422, "invalid_id", ""),
    Case("a;b", get("/v1/jobs/a;b"), 422, "invalid_id", ""),
)


def _of(answer: Answer) -> httpx.Response:
    return httpx.Response(answer.status, headers=answer.headers, content=answer.body)


def _dripping(world: World) -> httpx.Response:
    """Declare a body and send a byte of it."""
    usual, world.app.state.body_limits = world.app.state.body_limits, BodyLimits(timeout_seconds=0.3)
    lines = ["POST /v1/jobs HTTP/1.1", "Host: x", f"Authorization: Bearer {world.caller.key}", "Content-Length: 100"]
    try:
        with connected(world.url) as sock:
            sock.sendall("\r\n".join([*lines, "Content-Type: application/json", "", "{"]).encode())
            return _of(read_answer(sock))
    finally:
        world.app.state.body_limits = usual


_OVER = b'{"name": "' + b"x" * MIB + b'"}'
BODIES: Row = (
    Case("body over the limit with Content-Length", raw(_OVER), 413, "body_too_large", says=("1048576",)),
    Case(
        "body over the limit without Content-Length",
        lambda world: world.client.post("/v1/jobs", content=iter([_OVER]), headers=JSON),
        413,
        "body_too_large",
        says=("1048576",),
    ),
    Case("drip-fed body", _dripping, 408, "body_timeout"),
    Case("empty body", raw(b""), 422, "body_required", ""),
    Case("body that is not JSON", raw(b'{"model": }'), 400, "invalid_json", "", says=('"offset": 10',)),
    Case("text/plain", raw(b"{}", **{"Content-Type": "text/plain"}), 415, "unsupported_media_type"),
)

JSON_LIMITS: Row = (
    Case("depth 65", raw(b'{"model":' * 65 + b"1" + b"}" * 65), 400, "json_too_deep", "", says=("64",)),
    Case("depth 100 000", raw(b"[" * 100_000), 400, "json_too_deep", "", says=("64",)),
    Case("50 001 nodes", raw(b"[" + b"1," * 50_000 + b"1]"), 400, "json_too_many_nodes", "", says=("50000",)),
    Case("duplicate key", raw(b'{"model": "a", "model": "b"}'), 400, "json_duplicate_key", "", says=("model",)),
    Case("NaN", raw(b'{"lr": NaN}'), 400, "json_non_finite", "", says=("NaN",)),
    Case("1e400", raw(b'{"lr": 1e400}'), 400, "json_non_finite", "", says=("1e400",)),
    Case("5 000-digit number", raw(b'{"n": ' + b"1" * 5000 + b"}"), 400, "json_number_too_long", "", says=("32",)),
    Case("\\ud800", raw(b'{"name": "\\ud800"}'), 400, "json_invalid_string", "", says=("/name",)),
    Case("NUL", raw(b'{"name": "a\\u0000b"}'), 422, "invalid_character", "/name"),
)


def _other_body(world: World) -> httpx.Response:
    headers = {"Idempotency-Key": "order"}
    assert world.client.post("/v1/jobs", json=REQUEST, headers=headers).status_code == 201
    return world.client.post("/v1/jobs", json={**REQUEST, "name": "other"}, headers=headers)


def _in_flight(world: World) -> httpx.Response:
    with world.database.session() as session:
        idempotency.find_replay(session, tenant_id=world.caller.tenant_id, key="order", body=REQUEST)
        return world.client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "order"})


IDEMPOTENCY: Row = (
    Case("same key, other body", _other_body, 422, "idempotency_mismatch", ""),
    Case("same key in flight", _in_flight, 409, "idempotency_in_progress"),
    Case(
        "key of 10 kB",
        lambda world: world.client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "k" * 10_000}),
        400,
        "invalid_idempotency_key",
        "",
        says=("255",),
    ),
)


def _content(**headers: str):
    def send(world: World) -> httpx.Response:
        identifier = add_checkpoint(world.database, world.caller.tenant_id, os.urandom(1000))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return world.client.get(f"/v1/checkpoints/{identifier}/content", headers=names)

    return send


RANGES: Row = (
    Case("Range with 10 000 parts", _content(Range="bytes=" + ",".join(["0-0"] * 10_000)), 200, headers=("etag",)),
    Case(
        "Range past the end",
        _content(Range="bytes=1000-"),
        416,
        "range_not_satisfiable",
        says=("1000",),
        headers=("content-range", "accept-ranges"),
    ),
    Case("stale If-Range", _content(Range="bytes=0-9", If_Range='"stale"'), 200, headers=("etag",)),
)


def _finished(world: World) -> httpx.Response:
    identifier = add_job(world.database, world.caller.tenant_id, state="succeeded", finished_at=datetime.now(UTC))
    return world.client.post(f"/v1/jobs/{identifier}/cancel")


def _twice(world: World) -> httpx.Response:
    identifier = add_job(world.database, world.caller.tenant_id, state="running", owner="test/1", epoch=1)
    assert world.client.post(f"/v1/jobs/{identifier}/cancel").json()["state"] == "cancelling"
    return world.client.post(f"/v1/jobs/{identifier}/cancel")


CANCEL: Row = (
    Case("cancel a finished job", _finished, 409, "already_terminal", says=('"state": "succeeded"',)),
    Case("cancel twice", _twice, 200),
)


def _over_quota(world: World) -> httpx.Response:
    with world.settings(max_queued_jobs=1):
        assert world.client.post("/v1/jobs", json=REQUEST).status_code == 201
        return world.client.post("/v1/jobs", json=REQUEST)


LISTS: Row = (
    Case("limit -1", get("/v1/jobs?limit=-1"), 422, "out_of_range", "?limit", says=("at least 1 and at most 100",)),
    Case("limit 10^9", get("/v1/jobs?limit=1000000000"), 422, "out_of_range", "?limit", says=("at most 100",)),
    Case("forged cursor", get("/v1/jobs?after=job_1' OR 1=1 --"), 422, "invalid_cursor", "?after"),
    Case("over quota", _over_quota, 429, "quota_exceeded", says=("limit",)),
    Case(
        "wrong method",
        lambda world: world.client.delete("/v1/jobs"),
        405,
        "method_not_allowed",
        says=("GET, HEAD, POST",),
        headers=("allow",),
    ),
)
