"""Waiting for jobs: the list of events, the stream of events, and a look that waits."""

import json
import threading
import time

import pytest

from services.db.models import Job
from services.jobs import outcomes
from services.jobs.states import add_event, transition
from services.tenants import keys
from services.tenants import service as tenants
from tests.factories import add_job, claim
from tests.stack import until


def move(database, job_id, *states):
    for state in states:
        with database.session() as session:
            transition(session, session.get(Job, job_id, with_for_update=True), state)


def later(action, seconds=0.6):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def messages(lines):
    """Parse server-sent events into (event, data, id), comments as (None, text, None)."""
    found, fields = [], {}
    for line in lines:
        if line.startswith(":"):
            found.append((None, line[1:].strip(), None))
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            if "data" in fields:
                found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
            fields = {}
    return found


def stream(client, job_id, **headers):
    headers = {"Accept": "text/event-stream", **headers}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        return messages(answer.iter_lines())


def test_events_are_a_list_that_pages_oldest_first(caller, database):
    job_id = add_job(database, caller.tenant_id)
    move(database, job_id, "starting", "running", "succeeded")
    whole = caller.client.get(f"/v1/jobs/{job_id}/events").json()
    assert [event["data"]["state"] for event in whole["data"]] == ["starting", "running", "succeeded"]
    assert {event["job_id"] for event in whole["data"]} == {job_id}
    first = caller.client.get(f"/v1/jobs/{job_id}/events?limit=2").json()
    assert first["has_more"]
    rest = caller.client.get(f"/v1/jobs/{job_id}/events?limit=2&after={first['last_id']}").json()
    assert first["data"] + rest["data"] == whole["data"]


def test_a_stream_tells_the_history_then_what_happens_and_ends_with_the_job(caller, database):
    job_id = add_job(database, caller.tenant_id)
    move(database, job_id, "starting")
    later(lambda: move(database, job_id, "running", "succeeded"))
    streamed = [one for one in stream(caller.client, job_id) if one[2]]
    listed = caller.client.get(f"/v1/jobs/{job_id}/events").json()["data"]
    assert [(event["type"], event, event["id"]) for event in listed] == streamed
    assert [event["data"]["state"] for event in listed] == ["starting", "running", "succeeded"]


def test_a_stream_is_taken_up_after_the_last_event_and_is_over_when_there_is_none(caller, database):
    job_id = add_job(database, caller.tenant_id)
    move(database, job_id, "starting", "running", "succeeded")
    whole = stream(caller.client, job_id)
    assert stream(caller.client, job_id, **{"Last-Event-ID": whole[0][2]}) == whole[1:]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": whole[-1][2]}
    assert caller.client.get(f"/v1/jobs/{job_id}/events", headers=headers).status_code == 204


def test_progress_is_told_between_events_without_an_id(caller, database):
    job_id = add_job(database, caller.tenant_id, state="running", progress={"step": 1})

    def go_on():
        with database.session() as session:
            job = session.get(Job, job_id, with_for_update=True)
            job.progress, job.version = {"step": 2}, Job.version + 1
        time.sleep(0.6)
        move(database, job_id, "succeeded")

    later(go_on)
    told = [(data, identifier) for event, data, identifier in stream(caller.client, job_id) if event == "job.progress"]
    assert told == [({"step": 1}, None), ({"step": 2}, None)]


def test_where_a_job_runs_stays_with_the_operator(caller, database):
    job_id = add_job(database, caller.tenant_id, priority=100)  # before what other tests left in the queue
    owner = claim(database, owner="host/123")
    assert owner.job_id == job_id
    environment = {"torch": "2.13.0", "pid": 123, "isolation": ["seccomp"]}
    with database.session() as session:
        outcomes.mark_running(session, owner, environment=environment, resume=None)
    events = caller.client.get(f"/v1/jobs/{job_id}/events").json()["data"]
    (started,) = [event["data"] for event in events if event["type"] == "job.started"]
    assert started["environment"] == {"torch": "2.13.0"}


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_strange_job_or_event_is_a_problem_and_no_stream(caller, make_caller, database, problem, accept):
    job_id, other = add_job(database, caller.tenant_id), add_job(database, caller.tenant_id)
    move(database, other, "starting")
    theirs = caller.client.get(f"/v1/jobs/{other}/events").json()["data"][0]["id"]
    headers = {"Accept": accept}
    for cursor in (theirs, "evt_0", "%00", "../x"):
        answer = caller.client.get(f"/v1/jobs/{job_id}/events?after={cursor}", headers=headers)
        assert problem(answer, 422)["errors"][0]["code"] in ("invalid_cursor", "invalid_character")
    answer = make_caller().client.get(f"/v1/jobs/{job_id}/events?after={theirs}", headers=headers)
    assert problem(answer, 404)["code"] == "not_found"


def test_a_revoked_key_ends_its_streams(caller, make_caller, database, monkeypatch):
    monkeypatch.setattr("api.events.KEEP_ALIVE_SECONDS", 0.3)
    job_id = add_job(database, caller.tenant_id, state="running")
    other = make_caller(tenant_id=caller.tenant_id)

    def revoke():
        with database.session() as session:
            tenants.revoke_key(session, tenant_id=caller.tenant_id, key_id=keys.parse(other.key).key_id)

    later(revoke)
    assert stream(other.client, job_id)[-1] == (None, "ping", None)


def test_a_look_that_waits_is_answered_at_the_next_change(caller, database):
    job_id = add_job(database, caller.tenant_id)
    path = f"/v1/jobs/{job_id}"
    known = caller.client.get(path).headers["etag"]
    later(lambda: move(database, job_id, "starting"))
    answer = caller.client.get(f"{path}?wait=20", headers={"If-None-Match": known})
    assert (answer.status_code, answer.json()["state"]) == (200, "starting")


def test_a_look_that_waited_in_vain_answers_as_one_that_did_not_wait(caller, database):
    job_id = add_job(database, caller.tenant_id)
    path = f"/v1/jobs/{job_id}"
    plain = caller.client.get(path)
    assert caller.client.get(f"{path}?wait=0.3").json() == plain.json()
    headers = {"If-None-Match": plain.headers["etag"]}
    assert caller.client.get(f"{path}?wait=0.3", headers=headers).status_code == 304


def test_nobody_waits_for_what_is_known_to_differ_or_has_ended(caller, database):
    waiting, done = add_job(database, caller.tenant_id), add_job(database, caller.tenant_id, state="failed")
    begun = time.monotonic()
    assert caller.client.get(f"/v1/jobs/{waiting}?wait=60", headers={"If-None-Match": '"old"'}).status_code == 200
    assert caller.client.get(f"/v1/jobs/{done}?wait=60").status_code == 200
    assert time.monotonic() - begun < 50


def test_ninety_idle_streams_leave_the_threads_to_the_others(caller, database, url):
    job_id = add_job(database, caller.tenant_id)
    followers = [threading.Thread(target=stream, args=(caller.client, job_id)) for _ in range(90)]
    for one in followers:
        one.start()
    try:
        assert [caller.client.get("/v1/jobs").status_code for _ in range(20)] == [200] * 20
    finally:
        move(database, job_id, "cancelled")
        for one in followers:
            one.join(30)
    assert not any(one.is_alive() for one in followers)


def test_a_tenant_has_only_so_many_streams_and_one_that_ends_makes_room(caller, make_caller, database, app, problem):
    job_id = add_job(database, caller.tenant_id)
    watcher = app.state.parts.watcher
    before, watcher._max_streams = watcher._max_streams, 2
    path, headers = f"/v1/jobs/{job_id}/events", {"Accept": "text/event-stream"}
    statuses = []

    def follow():
        with caller.client.stream("GET", path, headers=headers) as answer:
            statuses.append(answer.status_code)
            answer.read()

    followers = [threading.Thread(target=follow) for _ in range(8)]
    try:
        for one in followers:
            one.start()
        until(lambda: len(statuses) == 8, seconds=60)
        assert sorted(statuses) == [200] * 2 + [429] * 6  # also of those that come at once
        assert problem(caller.client.get(path, headers=headers), 429)["code"] == "too_many_streams"
        assert caller.client.get(path).status_code == 200  # a list is no stream
        with watcher.stream(make_caller().tenant_id):
            pass
    finally:
        move(database, job_id, "cancelled")
        for one in followers:
            one.join(30)
        watcher._max_streams = before
    until(lambda: caller.tenant_id not in watcher._streams, seconds=60)


def test_events_of_a_job_come_in_the_order_of_their_commits(caller, database):
    job_id = add_job(database, caller.tenant_id)

    def write():
        for _ in range(20):
            with database.session() as session:
                job = session.get(Job, job_id, with_for_update=True)
                job.version = Job.version + 1
                add_event(session, job, "job.noted", {"version": None})

    writers = [threading.Thread(target=write) for _ in range(4)]
    for one in writers:
        one.start()
    seen = []
    while len(seen) < 80:
        page = caller.client.get(f"/v1/jobs/{job_id}/events?limit=100" + (f"&after={seen[-1]}" if seen else "")).json()
        seen += [event["id"] for event in page["data"]]
    for one in writers:
        one.join()
    whole = caller.client.get(f"/v1/jobs/{job_id}/events?limit=100").json()["data"]
    assert seen == [event["id"] for event in whole]
