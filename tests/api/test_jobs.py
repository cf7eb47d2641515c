"""Jobs over HTTP: submit once, look cheaply, page through, cancel."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from api import examples
from api.app import SUBMISSIONS
from services.db.models import Job
from services.jobs.states import transition
from tests.factories import add_job

REQUEST = examples.REQUESTS["short"]["value"]


def count_jobs(database, tenant_id):
    with database.read_session() as session:
        return session.scalar(select(func.count()).where(Job.tenant_id == tenant_id))


def test_a_job_is_created_with_its_address(client):
    answer = client.post("/v1/jobs", json=REQUEST)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["object"], job["state"], job["terminal"]) == ("job", "queued", False)
    assert job["request"] == REQUEST
    # What the 201 tells is committed: the very next request sees it.
    assert client.get(answer.headers["location"]).json() == job


@pytest.mark.parametrize("name", examples.REQUESTS)
def test_every_example_of_the_document_is_accepted(client, name):
    answer = client.post("/v1/jobs?validate_only=true", json=examples.REQUESTS[name]["value"])
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["valid"] is True
    assert report["preflight"]["parameters"]["total"] > 0
    assert "seed" in report["resolved"]["training"]
    memory = report["preflight"]["memory_bytes"]
    assert memory["assumes"]["optimizer"] == report["resolved"]["training"]["optimizer"]["type"]
    assert memory["activations"] == memory["activations_per_sample"] * report["resolved"]["data"]["batch_size"]
    assert memory["batch"] > 0
    split = ("weights", "buffers", "averages", "gradients", "optimizer", "activations", "batch")
    assert memory["total"] == sum(memory[part] for part in split)


def test_validation_tells_how_long_the_job_will_take_and_the_job_keeps_it(client):
    expected = client.post("/v1/jobs?validate_only=true", json=REQUEST).json()["estimate"]
    assert (expected["device"], expected["basis"]) == ("cpu", "probe")
    assert 0 < expected["low_seconds"] < expected["likely_seconds"] < expected["high_seconds"] < 60
    job = client.post("/v1/jobs", json=REQUEST).json()
    assert job["estimate"]["likely_seconds"] == expected["likely_seconds"]
    assert job["estimate"]["actual_seconds"] is None


def test_how_long_checkpoints_stay_is_kept_with_the_job(client, database):
    job = client.post("/v1/jobs", json={**REQUEST, "checkpoints": {"keep_days": 30}}).json()
    assert job["resolved"]["checkpoints"]["keep_days"] == 30
    with database.read_session() as session:
        assert session.scalar(select(Job.checkpoint_days).where(Job.id == job["id"])) == 30


def test_submitting_never_probes(client, monkeypatch):
    monkeypatch.setattr("services.preflight.Preflight.measure", lambda *_, **__: pytest.fail("it probed"))
    body = changed(REQUEST, ("model",), "Sequential(Linear(64, 23), ReLU(), Linear(23, 10))")
    job = client.post("/v1/jobs", json=body).json()
    assert job["estimate"]["basis"] in (None, "similar_jobs")


def test_validate_only_stores_nothing(caller, database):
    caller.client.post("/v1/jobs?validate_only=true", json=REQUEST, headers={"Idempotency-Key": "k"})
    assert count_jobs(database, caller.tenant_id) == 0


def test_the_same_key_makes_one_job(caller, database):
    headers = {"Idempotency-Key": "order-1"}
    first = caller.client.post("/v1/jobs", json=REQUEST, headers=headers)
    again = caller.client.post("/v1/jobs", json=REQUEST, headers=headers)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        first.json(),
        first.headers["location"],
    )
    assert count_jobs(database, caller.tenant_id) == 1


def test_the_same_key_with_another_body_is_refused(caller, database, problem):
    headers = {"Idempotency-Key": "order-2"}
    caller.client.post("/v1/jobs", json=REQUEST, headers=headers)
    other = caller.client.post("/v1/jobs", json={**REQUEST, "name": "other"}, headers=headers)
    assert problem(other, 422)["code"] == "idempotency_mismatch"
    assert count_jobs(database, caller.tenant_id) == 1


def test_a_key_of_ten_kilobytes_is_malformed(client, problem):
    answer = client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "k" * 10_000})
    assert problem(answer, 400)["code"] == "invalid_idempotency_key"


BAD = {
    "no model": (("model",), None, "missing", "/model"),
    "an unknown field": (("tenant_id",), "ten_1", "extra_forbidden", "/tenant_id"),
    "text for a number": (("training", "epochs"), "7", "int_type", "/training/epochs"),
    "true for a number": (("training", "epochs"), True, "int_type", "/training/epochs"),
    "no epochs": (("training", "epochs"), 0, "out_of_range", "/training/epochs"),
    "10^9 epochs": (("training", "epochs"), 10**9, "out_of_range", "/training/epochs"),
    "a learning rate of 1e308": (("training", "optimizer", "lr"), 1e308, "out_of_range", "/training/optimizer/lr"),
    "an unknown layer": (("model",), "Sequential(Linera(64, 10))", "unknown_type", "/model"),
    "a module path": (("model",), {"type": "os.system", "command": "id"}, "unknown_type", "/model"),
    "sizes that differ": (("model",), "Sequential(Linear(64, 128), Linear(127, 10))", "shape_mismatch", "/model"),
    "GPUs on the CPU": (("resources",), {"device": "cpu", "gpus": 2}, "conflict", "/resources/gpus"),
    "an unknown number of rows for two GPUs": (("resources",), {"gpus": 2, "rows": 1}, "extra_forbidden", "/resources"),
    "more processes than rows in a batch": (("resources",), {"gpus": 64}, "batch_too_small", "/data/batch_size"),
    "an unknown data set": (("data", "dataset"), "digit", "unknown_dataset", "/data/dataset"),
}


@pytest.mark.parametrize("wrong", BAD)
def test_a_wrong_request_is_told_where_and_why(caller, database, problem, wrong):
    path, value, code, pointer = BAD[wrong]
    found = problem(caller.client.post("/v1/jobs", json=changed(REQUEST, path, value)), 422)
    assert code in [one["code"] for one in found["errors"]], found
    assert any(one["pointer"].startswith(pointer) for one in found["errors"] if one["code"] == code), found
    assert count_jobs(database, caller.tenant_id) == 0


def changed(request, path, value):
    """Return ``request`` with the member at ``path`` replaced, or removed."""
    body = place = copy.deepcopy(request)
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    if value is None:
        del place[path[-1]]
    return body


def test_polling_an_unchanged_job_is_304(caller, database):
    job = add_job(database, caller.tenant_id)
    first = caller.client.get(f"/v1/jobs/{job}")
    tag = first.headers["etag"]
    unchanged = caller.client.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    with database.session() as session:
        transition(session, session.get(Job, job), "cancelled")
    changed = caller.client.get(f"/v1/jobs/{job}", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_lists_page_newest_first_without_gap_or_double(caller, database):
    made = [add_job(database, caller.tenant_id) for _ in range(5)]
    seen, after = [], None
    while True:
        page = caller.client.get("/v1/jobs", params={"limit": 2, **({"after": after} if after else {})}).json()
        assert page["object"] == "list"
        seen += [job["id"] for job in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert sorted(seen, reverse=True) == seen
    assert set(seen) == set(made)


def test_lists_filter_by_state_and_labels(caller, database):
    red = add_job(database, caller.tenant_id, labels={"colour": "red", "n": "1"})
    blue = add_job(database, caller.tenant_id, labels={"colour": "blue", "n": "1"}, state="succeeded")

    def ids(query):
        return {job["id"] for job in caller.client.get(f"/v1/jobs?{query}").json()["data"]}

    assert ids("label.colour=red") == {red}
    assert ids("label.n=1") == {red, blue}
    assert ids("label.n=1&label.colour=blue") == {blue}
    assert ids("label.colour=green") == set()
    assert ids("status=queued") == {red}
    assert ids("status=queued,succeeded") == ids("status=queued&status=succeeded") == {red, blue}
    assert ids("status=succeeded&label.colour=red") == set()


def test_an_empty_list_is_a_list(client):
    assert client.get("/v1/jobs").json() == {"object": "list", "data": [], "has_more": False, "last_id": None}


def test_cancel_twice_is_cancel_once_and_a_finished_job_says_its_state(caller, database, problem):
    waiting = add_job(database, caller.tenant_id)
    first = caller.client.post(f"/v1/jobs/{waiting}/cancel")
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    running = add_job(database, caller.tenant_id, state="running")
    answers = [caller.client.post(f"/v1/jobs/{running}/cancel") for _ in range(2)]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "cancelling")] * 2
    done = add_job(database, caller.tenant_id, state="succeeded")
    found = problem(caller.client.post(f"/v1/jobs/{done}/cancel"), 409)
    assert (found["code"], found["state"]) == ("already_terminal", "succeeded")


def test_a_job_is_paused_once_and_resumed_once_however_often_it_is_asked(caller, database):
    waiting = add_job(database, caller.tenant_id)
    asked = ["pause", "pause", "resume", "resume"]
    answers = [caller.client.post(f"/v1/jobs/{waiting}/{word}") for word in asked]
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [
        (200, "paused"),
        (200, "paused"),
        (200, "queued"),
        (200, "queued"),
    ]
    assert [entry["state"] for entry in answers[-1].json()["transitions"]] == ["queued", "paused", "queued"]


def test_a_running_job_is_asked_to_pause_and_resumed_only_when_it_rests(caller, database, problem):
    running = add_job(database, caller.tenant_id, state="running")
    answer = caller.client.post(f"/v1/jobs/{running}/pause")
    assert (answer.status_code, answer.json()["state"]) == (200, "pausing")
    assert problem(caller.client.post(f"/v1/jobs/{running}/resume"), 409)["code"] == "still_pausing"


@pytest.mark.parametrize("word", ["pause", "resume"])
def test_a_job_that_has_ended_is_neither_paused_nor_resumed(caller, database, problem, word):
    done = add_job(database, caller.tenant_id, state="failed")
    found = problem(caller.client.post(f"/v1/jobs/{done}/{word}"), 409)
    assert (found["code"], found["state"]) == ("already_terminal", "failed")


@pytest.mark.parametrize("word", ["pause", "resume"])
def test_a_job_that_is_being_cancelled_is_neither_paused_nor_resumed(caller, database, problem, word):
    running = add_job(database, caller.tenant_id, state="running")
    caller.client.post(f"/v1/jobs/{running}/cancel")
    found = problem(caller.client.post(f"/v1/jobs/{running}/{word}"), 409)
    assert found["code"] == "already_cancelling"
    assert found["hint"]


def test_hard_definitions_leave_threads_for_those_who_look(caller, database, monkeypatch):
    checking, may_end = threading.Semaphore(0), threading.Event()

    def slow(*_, **__):
        checking.release()
        assert may_end.wait(30)
        return {"object": "validation"}

    monkeypatch.setattr("services.jobs.service.validate", slow)
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(caller.client.post, "/v1/jobs?validate_only=true", json=REQUEST) for _ in range(30)]
        for _ in range(SUBMISSIONS):
            assert checking.acquire(timeout=20)
        try:
            job = add_job(database, caller.tenant_id)
            assert caller.client.get(f"/v1/jobs/{job}", timeout=10).status_code == 200
            assert not checking.acquire(timeout=0.1)
        finally:
            may_end.set()
        assert [one.result().status_code for one in asked] == [200] * 30
