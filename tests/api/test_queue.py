"""The queue over HTTP: places, reasons, start times, changes; each tenant sees its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from api import examples
from services.db.models import Job
from services.jobs.claims import claim_next
from services.jobs.states import transition
from tests.factories import add_job, read_job

REQUEST = examples.REQUESTS["short"]["value"]


def ids(answer):
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()["data"]]


def soon(**ahead):
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat().replace("+00:00", "Z")


def test_queued_jobs_are_listed_in_the_order_of_the_claim(caller, database):
    first, second = add_job(database, caller.tenant_id), add_job(database, caller.tenant_id)
    urgent = add_job(database, caller.tenant_id, priority=3)
    paused = add_job(database, caller.tenant_id)
    caller.client.post(f"/v1/jobs/{paused}/pause")
    answer = caller.client.get("/v1/queue")
    assert ids(answer) == [urgent, first, second]
    assert [entry["position"] for entry in answer.json()["data"]] == [1, 2, 3]
    totals = answer.json()["totals"]
    assert (totals["queued"], totals["scheduled"], totals["running"]) == (3, 0, 0)
    assert totals["service"]["queued"] >= 3


def test_the_queue_is_paged(caller, database):
    jobs = [add_job(database, caller.tenant_id, priority=-number % 3) for number in range(7)]
    seen, after = [], None
    while True:
        page = caller.client.get("/v1/queue", params={"limit": 3, **({"after": after} if after else {})}).json()
        seen += [entry["id"] for entry in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert sorted(seen) == sorted(jobs)
    assert [read_job(database, one).priority for one in seen] == [2, 2, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("after", ["x", "job_00000000000000000000000000", "evt_00000000000000000000000000"])
def test_a_forged_cursor_is_refused(client, problem, after):
    assert problem(client.get("/v1/queue", params={"after": after}), 422)["code"] == "invalid_cursor"


def test_a_tenant_sees_nothing_of_another_but_totals(make_caller, database):
    mine, theirs = make_caller(), make_caller()
    hidden = add_job(database, theirs.tenant_id)
    assert ids(mine.client.get("/v1/queue")) == []
    assert hidden not in mine.client.get("/v1/queue").text
    assert mine.client.get("/v1/queue", params={"after": hidden}).status_code == 422


def test_a_job_says_its_place_and_each_change_of_it_is_a_new_answer(caller, database):
    first, second = add_job(database, caller.tenant_id), add_job(database, caller.tenant_id)
    path = f"/v1/jobs/{second}"
    before = caller.client.get(path)
    assert before.json()["queue"]["position"] == 2
    assert set(before.json()["queue"]) == {"position", "ahead", "eta", "waiting_for"}
    caller.client.post(f"/v1/jobs/{first}/cancel")
    newer = add_job(database, caller.tenant_id)  # the line is read again for a job that is not in it
    assert caller.client.get(f"/v1/jobs/{newer}").json()["queue"]["position"] == 2
    after = caller.client.get(path)
    assert after.json()["queue"]["position"] == 1
    assert after.json()["version"] == before.json()["version"]
    assert after.headers["etag"] != before.headers["etag"]
    with database.session() as session:
        transition(session, session.get(Job, second), "cancelled")
    assert caller.client.get(path).json()["queue"] is None


def test_a_place_that_moves_wakes_nobody_who_waits_for_the_job(caller, database, app, monkeypatch):
    waited = []

    async def changed(job_id, version, *, timeout_seconds):
        waited.append((job_id, timeout_seconds))
        return False

    monkeypatch.setattr(app.state.parts.watcher, "changed", changed)
    first, second = add_job(database, caller.tenant_id), add_job(database, caller.tenant_id)
    known = caller.client.get(f"/v1/jobs/{second}")
    caller.client.post(f"/v1/jobs/{first}/cancel")
    caller.client.get(f"/v1/jobs/{add_job(database, caller.tenant_id)}")  # the line is read again for it
    asked = {"params": {"wait": 30}, "headers": {"If-None-Match": known.headers["etag"]}}
    answer = caller.client.get(f"/v1/jobs/{second}", **asked)
    assert (answer.status_code, answer.json()["queue"]["position"]) == (200, 1)
    assert waited == [(second, 30)]
    assert caller.client.get(f"/v1/jobs/{second}", params={"wait": 30}, headers={"If-None-Match": '"x"'}).is_success
    assert len(waited) == 1


def test_every_answer_that_shows_a_queued_job_says_its_place(caller):
    made = caller.client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "place"})
    again = caller.client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "place"})
    assert made.json()["queue"]["position"] == 1
    assert again.json() == made.json()
    path = f"/v1/jobs/{made.json()['id']}"
    assert caller.client.post(f"{path}/pause").json()["queue"] is None
    assert caller.client.post(f"{path}/resume").json()["queue"]["position"] == 1
    assert caller.client.get("/v1/jobs").json()["data"][0]["queue"]["position"] == 1
    assert caller.client.post(f"{path}/cancel").json()["queue"] is None
    retried = caller.client.post(f"{path}/retry").json()
    assert retried["queue"]["position"] == 1
    assert caller.client.post(f"/v1/jobs/{retried['id']}/fork", json={}).json()["queue"]["position"] == 2


def test_a_start_time_is_kept_shown_and_can_be_cancelled(caller, database):
    when = soon(hours=2)
    made = caller.client.post("/v1/jobs", json={**REQUEST, "start_after": when})
    assert made.status_code == 201, made.text
    job = made.json()
    assert datetime.fromisoformat(job["start_after"]) == datetime.fromisoformat(when)
    assert job["queue"]["waiting_for"]["code"] == "start_time"
    assert job["queue"]["eta"] == job["start_after"]
    now = add_job(database, caller.tenant_id)
    assert ids(caller.client.get("/v1/queue")) == [now, job["id"]]
    assert caller.client.get("/v1/queue").json()["totals"]["scheduled"] == 1
    with database.session() as session:
        others = "UPDATE job SET state = 'paused' WHERE state = 'queued' AND tenant_id <> :own"
        session.execute(text(others), {"own": caller.tenant_id})
        assert claim_next(session, owner="x", devices=["cpu"], lease_seconds=20).job_id == now
        assert claim_next(session, owner="x", devices=["cpu"], lease_seconds=20) is None
    assert caller.client.post(f"/v1/jobs/{job['id']}/cancel").json()["state"] == "cancelled"


def test_a_start_time_that_has_passed_means_at_once(caller, database):
    job = caller.client.post("/v1/jobs", json={**REQUEST, "start_after": "2020-01-01T00:00:00Z"}).json()
    assert read_job(database, job["id"]).held_until is None
    assert job["queue"]["position"] == 1


@pytest.mark.parametrize(
    ("value", "code"), [("soon", "invalid_time"), (7, "string_type"), ("2099-01-01T00:00:00Z", "out_of_range")]
)
def test_a_start_time_that_is_none_is_refused_where_it_stands(client, problem, value, code):
    found = problem(client.post("/v1/jobs", json={**REQUEST, "start_after": value}), 422)
    assert [(one["pointer"], one["code"]) for one in found["errors"]] == [("/start_after", code)]


def test_labels_and_priority_can_be_changed(caller, database):
    job_id = add_job(database, caller.tenant_id, labels={"a": "1", "b": "2"})
    other = add_job(database, caller.tenant_id)
    answer = caller.client.patch(f"/v1/jobs/{other}", json={"priority": 7})
    assert answer.status_code == 200, answer.text
    assert answer.json()["priority"] == 7
    assert ids(caller.client.get("/v1/queue")) == [other, job_id]
    changed = caller.client.patch(f"/v1/jobs/{job_id}", json={"labels": {"a": None, "c": "3"}}).json()
    assert changed["labels"] == {"b": "2", "c": "3"}
    again = caller.client.patch(f"/v1/jobs/{job_id}", json={"labels": {"c": "3"}, "priority": 0}).json()
    assert again["version"] == changed["version"]
    kinds = [event["type"] for event in caller.client.get(f"/v1/jobs/{job_id}/events").json()["data"]]
    assert kinds.count("job.changed") == 1


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"priority": 101}, "/priority", "out_of_range"),
        ({"priority": None}, "/priority", "int_type"),
        ({"priority": "7"}, "/priority", "int_type"),
        ({"name": "x"}, "/name", "extra_forbidden"),
        ({"labels": {"-": "x"}}, "/labels", "invalid_label_name"),
        ({"labels": {f"n{number}": "x" for number in range(64)}}, "/labels", "out_of_range"),
    ],
)
def test_a_change_that_is_none_is_refused_where_it_stands(*, caller, database, problem, body, pointer, code):
    job_id = add_job(database, caller.tenant_id, labels={"kept": "x"})
    found = problem(caller.client.patch(f"/v1/jobs/{job_id}", json=body), 422)
    assert [(one["pointer"], one["code"]) for one in found["errors"]] == [(pointer, code)]
    assert read_job(database, job_id).version == 1


def test_of_a_job_that_has_ended_only_labels_can_be_changed(caller, database, problem):
    job_id = add_job(database, caller.tenant_id)
    caller.client.post(f"/v1/jobs/{job_id}/cancel")
    assert caller.client.patch(f"/v1/jobs/{job_id}", json={"labels": {"kept": "yes"}}).status_code == 200
    assert problem(caller.client.patch(f"/v1/jobs/{job_id}", json={"priority": 1}), 409)["code"] == "already_terminal"


def test_another_tenants_job_cannot_be_changed(make_caller, database, problem):
    job_id = add_job(database, make_caller().tenant_id)
    assert problem(make_caller().client.patch(f"/v1/jobs/{job_id}", json={"priority": 1}), 404)["code"] == "not_found"
