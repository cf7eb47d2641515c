"""Two tenants: whatever one has, for the other it is not there. All routes, all kinds of object, bodies, lists."""

import json
import re

import pytest

from api import scopes
from services.db.models import Checkpoint
from services.db.webhook_models import Webhook, WebhookDelivery
from services.identifiers import new_id
from tests.stack import DIGITS_MLP

MODEL = {"model": "Sequential(Linear(64, 10))", "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 64]}]}
TABLE = {"columns": {"x": [[float(row)] for row in range(20)], "y": [row % 2 for row in range(20)]}, "target": "y"}
SWEEP = {
    "base": DIGITS_MLP,
    "space": {"/training/optimizer/lr": {"choice": [0.01, 0.1]}},
    "strategy": "grid",
    "objective": {"metric": "validation/loss", "mode": "min"},
}
PREFIXES = {"job_id": "job", "model_id": "mdl", "checkpoint_id": "ckpt", "dataset_id": "ds", "sweep_id": "swp"}
PREFIXES |= {"webhook_id": "whk", "event_id": "evt"}


def add_webhook(database, tenant_id):
    """A webhook with a delivery; over HTTP none can be made, for no host is allowed here."""
    webhook, event = new_id("whk"), new_id("evt")
    with database.session() as session:
        session.add(Webhook(id=webhook, tenant_id=tenant_id, url="https://example.com/", events=["*"], secret="x"))
        session.flush()
        session.add(WebhookDelivery(webhook_id=webhook, event_id=event, type="webhook.test", payload={}))
    return {"webhook_id": webhook, "event_id": event}


@pytest.fixture
def owned(make_caller, database):
    """What the first tenant has: one of every kind, by the name that routes give its id."""
    owner = make_caller()

    def made(path, body):
        answer = owner.client.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    job = made("/v1/jobs", {**DIGITS_MLP, "labels": {"team": "red"}})
    own = {
        "job_id": job,
        "model_id": made("/v1/models", MODEL),
        "checkpoint_id": add_checkpoint(database, owner.tenant_id, job),
        "dataset_id": made("/v1/datasets", TABLE),
        "sweep_id": made("/v1/sweeps", SWEEP),
        "key_id": made("/v1/keys", {"scopes": ["jobs:read"]}),
        **add_webhook(database, owner.tenant_id),
    }
    return owner, own


def add_checkpoint(database, tenant_id, job_id):
    identifier = new_id("ckpt")
    with database.session() as session:
        row = {"step": 1, "epoch": 1, "attempt": 1, "sha256": "0" * 64, "size_bytes": 0}
        session.add(Checkpoint(id=identifier, tenant_id=tenant_id, job_id=job_id, **row))
    return identifier


def absent(name):
    return "key_00000000" if name == "key_id" else new_id(PREFIXES[name])


BODIES = {
    "POST /v1/jobs/{job_id}/fork": {"changes": {}},
    "PATCH /v1/jobs/{job_id}": {"priority": 1},
    "PATCH /v1/checkpoints/{checkpoint_id}": {"pinned": True},
    "POST /v1/checkpoints/{checkpoint_id}/predict": {"rows": [{"x": 1}]},
    "POST /v1/models/{model_id}/edit": {"operations": [{"op": "freeze", "path": "0"}]},
    "PATCH /v1/webhooks/{webhook_id}": {"enabled": False},
    "POST /v1/keys/{key_id}/rotate": {},
}
REST = {"number": "1", "format": "torch", "name": "Linear"}


def ask(client, route, identifiers):
    """Call a route with these ids, and with the rest of its path filled in."""
    method, path = route.split(" ")
    address = re.sub(r"\{(\w+)\}", lambda match: identifiers.get(match[1]) or REST[match[1]], path)
    more = {"json": BODIES[route]} if route in BODIES else {"content": b"x"} if method == "PUT" else {}
    return client.request(method, address, **more)


def same(answer, *identifiers):
    """An answer but for what every answer has of its own."""
    body = answer.text.replace(answer.headers["x-request-id"], "")
    for identifier in identifiers:
        body = body.replace(identifier, "ID")
    changing = ("x-request-id", "date", "content-length")
    headers = {key: value for key, value in answer.headers.items() if key not in changing and "ratelimit" not in key}
    return answer.status_code, body, headers


def test_every_route_answers_for_another_tenants_object_as_for_one_that_there_is_not(owned, make_caller):
    owner, own = owned
    stranger = make_caller().client
    nobodys = {name: absent(name) for name in own}
    seen = set()
    for route in scopes.NEEDED:
        # A worker is nobody's: tests/api/test_workers.py has what each tenant sees of it.
        if names := re.findall(r"\{((?!worker)\w+_id)\}", route):
            assert set(names) <= own.keys(), f"{route}: one of {names} is not made here; add it"
            theirs, none = ask(stranger, route, own), ask(stranger, route, nobodys)
            assert theirs.status_code == 404, (route, theirs.text)
            assert same(theirs, *own.values()) == same(none, *nobodys.values()), route
            assert not [identifier for identifier in own.values() if identifier in theirs.text], route
            seen.update(names)
    assert seen == own.keys()
    for name, path in PATHS.items():
        assert owner.client.get(f"/v1/{path}/{own[name]}").status_code == 200, "and its owner still has it"


PATHS = {
    "job_id": "jobs",
    "model_id": "models",
    "dataset_id": "datasets",
    "sweep_id": "sweeps",
    "key_id": "keys",
    "webhook_id": "webhooks",
}
LISTS = ("jobs", "queue", "models", "datasets?owner=own", "sweeps", "audit", "keys", "webhooks")


def test_no_list_shows_what_another_tenant_has_whatever_the_filter(owned, make_caller):
    owner, own = owned
    stranger = make_caller().client
    assert {f"GET /v1/{one.split('?')[0]}" for one in LISTS} == {
        route for route in scopes.NEEDED if re.fullmatch(r"GET /v1/(?!catalog|usage|workers)\w+", route)
    }
    for path in LISTS:
        assert owner.client.get(f"/v1/{path}").json()["data"], path
        shown = stranger.get(f"/v1/{path}").text
        assert not [identifier for identifier in own.values() if identifier in shown], path
    assert stranger.get("/v1/jobs?label.team=red").json()["data"] == []
    assert stranger.get(f"/v1/audit?object_id={own['job_id']}").json()["data"] == []
    for path, name in (("jobs", "job_id"), ("models", "model_id"), ("sweeps", "sweep_id")):
        shown = stranger.get(f"/v1/{path}?after={own[name]}").json()["data"]
        assert shown == stranger.get(f"/v1/{path}?after={new_id(PREFIXES[name])}").json()["data"] == []
    usage = stranger.get("/v1/usage").json()
    assert usage["jobs"]["total"] == usage["storage"]["bytes"] == usage["limits"]["models"]["used"] == 0


def with_job(**members):
    return lambda identifier: json.loads(json.dumps({**DIGITS_MLP, **members}).replace("ID", identifier))


NOT_THERE = re.compile("unknown_|not_found")
"""The refusal is about the reference, not about something else in the body."""

REFERENCES = [
    ("model_id", "/v1/jobs", with_job(model="ID")),
    ("dataset_id", "/v1/jobs", with_job(data={"dataset": "ID"})),
    ("checkpoint_id", "/v1/jobs", with_job(init_from="ID")),
    ("webhook_id", "/v1/jobs", with_job(webhook="ID")),
    ("model_id", "/v1/sweeps", lambda one: {**SWEEP, "base": with_job(model="ID")(one)}),
    ("dataset_id", "/v1/sweeps", lambda one: {**SWEEP, "base": with_job(data={"dataset": "ID"})(one)}),
    ("checkpoint_id", "/v1/sweeps", lambda one: {**SWEEP, "base": with_job(init_from="ID")(one)}),
    ("checkpoint_id", "/v1/graphs", lambda one: {"checkpoint": one, "inputs": {"x": [[0.0] * 64]}}),
    ("model_id", "/v1/graphs", lambda one: {"model": one, "inputs": {"x": [[0.0] * 64]}}),
    ("dataset_id", "/v1/graphs", lambda one: {"model": MODEL, "data": {"dataset": one, "rows": [0]}}),
]


@pytest.mark.parametrize(("name", "path", "body"), REFERENCES, ids=[f"{name}-{path}" for name, path, _ in REFERENCES])
def test_a_reference_in_a_body_finds_nothing_of_another_tenant(owned, make_caller, name, path, body):
    _, own = owned
    stranger, nobodys = make_caller().client, absent(name)
    theirs, none = stranger.post(path, json=body(own[name])), stranger.post(path, json=body(nobodys))
    assert theirs.status_code in (404, 422), theirs.text
    assert NOT_THERE.search(theirs.json()["code"]), theirs.text
    assert same(theirs, own[name]) == same(none, nobodys)


def test_references_beside_an_own_object_find_nothing_either(owned, make_caller):
    """A fork of an own job from another's checkpoint, an edit of an own model with another's weights."""
    _, own = owned
    stranger = make_caller().client
    job = stranger.post("/v1/jobs", json=DIGITS_MLP).json()["id"]
    model = stranger.post("/v1/models", json=MODEL).json()["id"]
    bodies = {
        f"/v1/jobs/{job}/fork": lambda one: {"changes": {}, "from_checkpoint": one},
        f"/v1/models/{model}/edit": lambda one: {"operations": [{"op": "freeze", "path": "0"}], "checkpoint": one},
    }
    for path, body in bodies.items():
        nobodys = absent("checkpoint_id")
        theirs = stranger.post(path, json=body(own["checkpoint_id"]))
        none = stranger.post(path, json=body(nobodys))
        assert NOT_THERE.search(theirs.json()["code"]), (path, theirs.text)
        assert same(theirs, own["checkpoint_id"]) == same(none, nobodys), path


def test_idempotency_keys_and_contents_are_each_tenants_own(make_caller):
    first, second = make_caller().client, make_caller().client
    headers = {"Idempotency-Key": "the same"}
    jobs = [client.post("/v1/jobs", json=DIGITS_MLP, headers=headers) for client in (first, second)]
    assert [one.status_code for one in jobs] == [201, 201]
    assert jobs[0].json()["id"] != jobs[1].json()["id"]
    models = [client.post("/v1/models", json=MODEL) for client in (first, second)]
    assert [one.status_code for one in models] == [201, 201], "the second is not told that somebody has it"
