"""Calls that act, with a key: the repeat gets the first answer, and nothing happens twice."""

from datetime import UTC, datetime

import pytest

from services.idempotency import service as idempotency
from tests.api.bad_inputs.case import REQUEST
from tests.factories import add_job, read_job

COMPUTE_ONLY = {
    "/v1/models/validate",
    "/v1/graphs",
    "/v1/graphs/diff",
    "/v1/graphs/capture",
    "/v1/graphs/compare",
    "/v1/checkpoints/{checkpoint_id}/predict",
}
"""These store nothing: a repeat is harmless by itself."""

FOR_GOOD = {"/v1/keys/{key_id}/revoke"}
"""Nothing undoes these, so a repeat changes nothing."""


def test_every_post_that_creates_or_acts_takes_a_key(app):
    acting = {path: one["post"] for path, one in app.openapi()["paths"].items() if "post" in one}
    for path in acting.keys() - COMPUTE_ONLY - FOR_GOOD:
        names = {one["name"].lower() for one in acting[path].get("parameters", [])}
        assert "idempotency-key" in names, path
        assert {"400", "409"} <= acting[path]["responses"].keys(), path


@pytest.mark.parametrize(("action", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_an_action_is_answered_again_as_it_was(caller, database, problem, action, state):
    address = f"/v1/jobs/{add_job(database, caller.tenant_id)}"
    headers = {"Idempotency-Key": "once"}
    first = caller.client.post(f"{address}/{action}", headers=headers)
    assert first.json()["state"] == state
    caller.client.post(f"{address}/cancel")
    again = caller.client.post(f"{address}/{action}", headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert problem(caller.client.post(f"{address}/{action}"), 409)["code"] == "already_terminal"


def test_a_repeated_resume_does_not_resume_what_was_paused_since(caller, database):
    job = add_job(database, caller.tenant_id, state="paused")
    caller.client.post(f"/v1/jobs/{job}/resume", headers={"Idempotency-Key": "go on"})
    caller.client.post(f"/v1/jobs/{job}/pause")
    again = caller.client.post(f"/v1/jobs/{job}/resume", headers={"Idempotency-Key": "go on"})
    assert again.json()["state"] == "queued"
    assert read_job(database, job).state == "paused"


def test_a_key_belongs_to_one_call(caller, database, problem):
    one, other = (add_job(database, caller.tenant_id) for _ in range(2))
    headers = {"Idempotency-Key": "once"}
    assert caller.client.post(f"/v1/jobs/{one}/cancel", headers=headers).status_code == 200
    for address in (f"/v1/jobs/{other}/cancel", f"/v1/jobs/{one}/pause"):
        assert problem(caller.client.post(address, headers=headers), 422)["code"] == "idempotency_mismatch"
    assert read_job(database, other).state == "queued"


def test_a_key_of_a_submission_is_none_of_a_retry_or_of_a_sweep(caller, database, problem):
    ended = add_job(database, caller.tenant_id, state="failed", finished_at=datetime.now(UTC), request=REQUEST)
    headers = {"Idempotency-Key": "once"}
    assert caller.client.post("/v1/jobs", json=REQUEST, headers=headers).status_code == 201
    for answer in (
        caller.client.post(f"/v1/jobs/{ended}/retry", headers=headers),
        caller.client.post("/v1/sweeps", json=REQUEST, headers=headers),
    ):
        assert problem(answer, 422)["code"] == "idempotency_mismatch"


def test_a_refusal_is_not_kept(caller, database, problem):
    job = add_job(database, caller.tenant_id, state="pausing", owner="test/1", epoch=1)
    headers = {"Idempotency-Key": "go on"}
    address = f"/v1/jobs/{job}/resume"
    assert problem(caller.client.post(address, headers=headers), 409)["code"] == "still_pausing"
    caller.client.post(f"/v1/jobs/{job}/cancel")
    assert problem(caller.client.post(address, headers=headers), 409)["code"] == "already_cancelling"


def test_while_the_first_is_being_answered_the_second_is_told_to_wait(caller, database, problem):
    address = f"/v1/jobs/{add_job(database, caller.tenant_id)}/cancel"
    asked = {"call": f"POST {address}", "body": None}
    with database.session() as session:
        idempotency.find_replay(session, tenant_id=caller.tenant_id, key="once", body=asked)
        refused = caller.client.post(address, headers={"Idempotency-Key": "once"})
        assert problem(refused, 409)["code"] == "idempotency_in_progress"


@pytest.mark.parametrize("key", ["", "k" * 256, "\u00e9"])
def test_a_key_that_is_none_is_malformed(caller, database, problem, key):
    address = f"/v1/jobs/{add_job(database, caller.tenant_id)}/cancel"
    answer = caller.client.post(address, headers={"Idempotency-Key": key.encode()})
    assert problem(answer, 400)["code"] == "invalid_idempotency_key"


def test_a_model_is_kept_once_and_its_edit_too(client):
    document = {"model": "Sequential(Linear(4, 8), ReLU(), Linear(8, 2))"}
    first, again = (client.post("/v1/models", json=document, headers={"Idempotency-Key": "m"}) for _ in range(2))
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    edit = {"operations": [{"op": "freeze", "path": "0"}]}
    path = f"{first.headers['location']}/edit"
    made, repeated = (client.post(path, json=edit, headers={"Idempotency-Key": "e"}) for _ in range(2))
    assert (made.status_code, repeated.status_code) == (201, 201)
    assert repeated.headers["location"] == made.headers["location"]
    assert repeated.headers["idempotent-replayed"] == "true"


def test_completing_an_upload_with_a_key_is_answered_again(client):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()["id"]
    client.put(f"/v1/datasets/{begun}/parts/1", content=b"a,b\n1,2\n3,4\n")
    path, headers = f"/v1/datasets/{begun}/complete", {"Idempotency-Key": "done"}
    first, again = client.post(path, headers=headers), client.post(path, headers=headers)
    assert first.json()["state"] == "ready"
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
