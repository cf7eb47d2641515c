"""Usage, limits, rates and the audit log over HTTP."""

import httpx
import pytest
from sqlalchemy import text

from api.app import create_app
from services.audit.service import Wanted, list_entries
from services.db.models import Tenant
from services.tenants import administration
from tests.api.server import serving
from tests.factories import add_job
from tests.stack import DIGITS_MLP, until

MODEL = {"model": "Sequential(Linear(4, 2))", "inputs": [{"name": "x", "dtype": "float32", "shape": ["B", 4]}]}


@pytest.fixture
def limited(make_caller, database):
    """A tenant with limits of its own."""

    def make(**limits):
        caller = make_caller()
        with database.session() as session:
            session.get(Tenant, caller.tenant_id).limits = limits
        return caller

    return make


def test_the_queue_tells_a_tenant_its_own_limit(limited, client, api_settings):
    own, ordinary = limited(unfinished_jobs=3).client, client
    for caller, limit in ((own, 3), (ordinary, api_settings.max_queued_jobs)):
        assert caller.get("/v1/queue").json()["totals"]["max_queued_jobs"] == limit


def audit(client, **filters):
    return client.get("/v1/audit", params=filters).json()["data"]


def test_every_answer_says_what_is_left_of_the_rate(client, anonymous):
    first, second = client.get("/v1/jobs"), client.get("/v1/jobs/job_x")
    limit = int(first.headers["ratelimit-limit"])
    assert first.headers["ratelimit-policy"] == f'"tenant";q={limit};w=60'
    remaining = [int(one.headers["ratelimit-remaining"]) for one in (first, second)]
    assert remaining == [limit - 1, limit - 2]
    assert first.headers["ratelimit"] == f'"tenant";r={limit - 1};t={first.headers["ratelimit-reset"]}'
    for answer in (anonymous.get("/healthz"), anonymous.get("/v1/jobs")):
        assert "ratelimit-limit" not in answer.headers


def test_too_many_requests_are_refused_with_when_to_come_again(limited, caller, problem):
    busy = limited(requests_per_minute=5)
    answers = [busy.client.get("/v1/jobs") for _ in range(7)]
    assert [one.status_code for one in answers] == [200] * 5 + [429] * 2
    assert problem(answers[-1], 429)["code"] == "quota_exceeded"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 120
    assert answers[-1].headers["ratelimit-remaining"] == "0"
    assert caller.client.get("/v1/jobs").status_code == 200


def test_two_processes_share_a_rate(limited, api_settings):
    limit, first, asked = 400, 60, []
    busy = limited(requests_per_minute=limit)
    for _ in range(first):
        assert busy.client.get("/v1/catalog/Linear").status_code == 200
    with serving(create_app(api_settings)) as other, httpx.Client(headers=busy.client.headers) as client:

        def others_are_counted():
            asked.append(client.get(f"{other}/v1/catalog/Linear"))
            left = int(asked[-1].headers["ratelimit-remaining"])
            return left <= limit - first / 2 - len(asked)  # half: a minute may have begun since

        assert not others_are_counted()  # it has not heard of them yet
        until(others_are_counted, seconds=60)


def test_usage_counts_jobs_storage_requests_and_what_is_left(limited, database):
    busy = limited(unfinished_jobs=3, keys=7)
    add_job(database, busy.tenant_id)
    add_job(database, busy.tenant_id)
    assert busy.client.post("/v1/models", json=MODEL).status_code == 201
    usage = busy.client.get("/v1/usage").json()
    assert usage["tenant"]["id"] == busy.tenant_id
    assert (usage["jobs"]["queued"], usage["jobs"]["total"]) == (2, 2)
    limits = usage["limits"]
    assert (limits["unfinished_jobs"]["used"], limits["unfinished_jobs"]["remaining"]) == (2, 1)
    assert (limits["keys"]["limit"], limits["keys"]["used"]) == (7, 1)
    assert limits["models"]["used"] == 1
    assert limits["requests_per_minute"]["used"] == 2
    assert limits["model_parameters"]["used"] is None
    until(lambda: busy.client.get("/v1/usage").json()["requests"]["today"]["requests"] >= 2, seconds=60)


def test_training_seconds_are_those_with_a_worker(caller, database):
    job = add_job(database, caller.tenant_id)
    spans = [
        ("queued", "10:00:00"),
        ("starting", "10:01:00"),
        ("running", "10:01:02"),
        ("queued", "10:02:00"),
        ("starting", "10:05:00"),
        ("running", "10:05:01"),
        ("succeeded", "10:05:30.5"),
    ]
    entries = ", ".join(f"""{{"state": "{state}", "at": "2026-01-01T{at}Z"}}""" for state, at in spans)
    with database.session() as session:
        session.execute(
            text("UPDATE job SET transitions = CAST(:entries AS jsonb), started_at = now() WHERE id = :id"),
            {"entries": f"[{entries}]", "id": job},
        )
    assert caller.client.get("/v1/usage").json()["training_seconds"] == 60 + 30.5


def test_quotas_refuse_jobs_models_and_sweeps(limited, problem):
    full = limited(unfinished_jobs=1, models=1)
    assert full.client.post("/v1/jobs", json=DIGITS_MLP).status_code == 201
    assert problem(full.client.post("/v1/jobs", json=DIGITS_MLP), 429)["code"] == "quota_exceeded"
    assert "retry-after" not in full.client.post("/v1/jobs", json=DIGITS_MLP).headers
    assert full.client.post("/v1/models", json=MODEL).status_code == 201
    assert full.client.post("/v1/models", json=MODEL).status_code == 200
    other = {**MODEL, "model": "Sequential(Linear(4, 3))"}
    assert problem(full.client.post("/v1/models", json=other), 429)["code"] == "quota_exceeded"

    small = limited(model_parameters=10)
    refused = problem(small.client.post("/v1/jobs", json=DIGITS_MLP), 422)
    assert refused["errors"][0]["pointer"] == "/model"
    assert refused["code"] == problem(small.client.post("/v1/models", json=other), 422)["code"] == "model_too_large"

    stuffed = limited(storage_bytes=0)
    for path, body in (("/v1/jobs", DIGITS_MLP), ("/v1/datasets", {"format": "csv"})):
        assert "bytes" in problem(stuffed.client.post(path, json=body), 429)["detail"]


def test_a_deed_is_written_down_with_key_object_request_and_status(caller):
    answer = caller.client.post("/v1/jobs", json=DIGITS_MLP, headers={"X-Request-Id": "mine"})
    job = answer.json()["id"]
    caller.client.post(f"/v1/jobs/{job}/cancel")
    caller.client.get(f"/v1/jobs/{job}")
    cancelled, submitted = audit(caller.client)
    own = caller.client.get("/v1/keys/self").json()["id"]
    assert submitted["key_id"] == cancelled["key_id"] == own
    assert (submitted["action"], submitted["object_id"], submitted["status"]) == ("POST /v1/jobs", job, 201)
    assert submitted["request_id"] == "mine"
    assert (cancelled["action"], cancelled["object_id"]) == ("POST /v1/jobs/{job_id}/cancel", job)
    assert [one["id"] for one in audit(caller.client, object_id=job)] == [cancelled["id"], submitted["id"]]
    assert audit(caller.client, status=409) == audit(caller.client, key_id="key_00000000") == []
    assert audit(caller.client, created_after="2100-01-01T00:00:00Z") == []


def test_refusals_are_written_down_too(make_caller, problem):
    admin = make_caller()
    reader = make_caller(scopes=["jobs:read"], tenant_id=admin.tenant_id)
    reader.client.post("/v1/jobs", json=DIGITS_MLP)
    admin.client.post("/v1/jobs", json={"model": 7})
    admin.client.post("/v1/models?x=1", json=MODEL)
    found = [(one["status"], one["code"]) for one in audit(admin.client)]
    assert found == [(422, "extra_forbidden"), (422, found[1][1]), (403, "insufficient_scope")]


def test_a_key_in_a_path_is_not_kept(caller):
    caller.client.post(f"/v1/jobs/{caller.key}/cancel")
    entry = audit(caller.client)[0]
    assert entry["status"] == 422
    assert caller.key[12:30] not in str(entry)
    assert entry["object_id"].startswith(caller.key[:11])


def test_an_upload_is_written_down_and_a_flood_is_not(limited, database):
    caller = limited(requests_per_minute=6)
    body = {"columns": {"x": [[1.0], [2.0]], "y": [0, 1]}, "target": "y"}
    made = caller.client.post("/v1/datasets", json=body)
    assert made.status_code == 201, made.text
    assert [one["object_id"] for one in audit(caller.client)] == [made.json()["id"]]
    statuses = [caller.client.post("/v1/jobs/job_x/cancel").status_code for _ in range(10)]
    assert statuses.count(429) == 6
    with database.read_session() as session:  # over HTTP there is nothing left to ask with
        entries = list_entries(session, tenant_id=caller.tenant_id, wanted=Wanted()).data
    assert [one["status"] for one in entries] == [422] * 4 + [201]


def test_without_its_entry_a_deed_is_not_done(caller, app, monkeypatch):
    """The entry is part of the transaction: if it cannot be written, nothing has happened."""

    def fail(*_):
        raise RuntimeError("no room")

    monkeypatch.setattr("api.audited.record", fail)
    assert caller.client.post("/v1/models", json=MODEL).status_code == 500
    monkeypatch.undo()
    assert caller.client.get("/v1/models").json()["data"] == []


def test_the_operator_is_in_the_log_without_a_key(make_caller, database, api_settings):
    caller = make_caller()
    with database.session() as session:
        administration.change_limits(session, name=caller.tenant_id, limits={"keys": 5}, settings=api_settings)
    entry = audit(caller.client)[0]
    assert (entry["key_id"], entry["action"]) == (None, "tenants limits keys=5")
    assert caller.client.get("/v1/usage").json()["limits"]["keys"]["limit"] == 5


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=1", "out_of_range"),
        ("created_after=yesterday", "datetime_type"),
        ("created_after=1795392000", "datetime_type"),
        ("created_before=2026-11-23", "datetime_type"),
        ("after=x", "invalid_cursor"),
        ("x=1", "extra_forbidden"),
    ],
)
def test_wrong_filters_are_refused(client, problem, query, code):
    refused = problem(client.get(f"/v1/audit?{query}"), 422)
    assert refused["code"] == code
