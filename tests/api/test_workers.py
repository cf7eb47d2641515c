"""Workers over HTTP: who is there, what it is, what it runs; jobs of others are busy slots."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from services.identifiers import new_id
from services.workers.registry import SlotFacts, beat, forget_lost, leave
from tests.factories import add_job

ABOUT = {"device": {"type": "cuda", "name": "NVIDIA H100", "count": 2}, "versions": {"python": "3.12", "torch": "2.13"}}


@pytest.fixture
def worker(database):
    """A worker with two slots, and what its slots are called."""
    worker_id = new_id("wrk")
    owners = [f"{worker_id}/{number}" for number in (1, 2)]
    for owner in owners:
        knock(database, owner, worker_id)
    yield worker_id, owners
    with database.session() as session:
        for owner in owners:
            leave(session, owner=owner)


def knock(database, owner, worker_id, *, draining=False):
    with database.session() as session:
        beat(session, SlotFacts(owner, worker_id, ["cuda", "cuda:2", "cpu"], ABOUT), draining=draining)


def occupy(database, tenant_id, owner):
    job_id = add_job(database, tenant_id)
    taken = (
        "UPDATE job SET state = 'running', owner = :owner, lease_expires_at = now() + interval '1 hour' WHERE id = :id"
    )
    with database.session() as session:
        session.execute(text(taken), {"owner": owner, "id": job_id})
    return job_id


def test_a_worker_is_shown_with_what_it_has_and_runs(make_caller, database, worker):
    mine, theirs = make_caller(), make_caller()
    worker_id, owners = worker
    own, other = occupy(database, mine.tenant_id, owners[0]), occupy(database, theirs.tenant_id, owners[1])
    found = mine.client.get(f"/v1/workers/{worker_id}").json()
    assert (found["state"], found["slots"], found["busy"], found["draining"]) == ("busy", 2, 2, False)
    assert {"devices": ["cuda", "cuda:2", "cpu"], **ABOUT}.items() <= found.items()
    assert found["running"] == [{"job_id": own}, {"job_id": None}]
    assert other not in str(found)
    listed = mine.client.get("/v1/workers", params={"limit": 100}).json()["data"]
    assert worker_id in [one["id"] for one in listed]


def test_a_worker_that_drains_or_is_silent_says_so_and_is_forgotten_in_the_end(client, database, worker):
    worker_id, owners = worker
    path = f"/v1/workers/{worker_id}"
    assert client.get(path).json()["state"] == "idle"
    for owner in owners:
        knock(database, owner, worker_id, draining=True)
    assert client.get(path).json()["state"] == "draining"
    silence(database, owners[:1], "1 minute")
    assert (client.get(path).json()["state"], client.get(path).json()["slots"]) == ("draining", 1)
    silence(database, owners, "1 minute")
    assert client.get(path).json()["state"] == "lost"
    silence(database, owners, "1 hour")
    with database.session() as session:
        forget_lost(session)
    assert client.get(path).status_code == 404


def test_a_new_process_under_an_old_name_takes_its_row(client, database, worker):
    worker_id, owners = worker
    newer = new_id("wrk")
    for owner in owners:
        knock(database, owner, newer)
    assert client.get(f"/v1/workers/{worker_id}").status_code == 404
    assert client.get(f"/v1/workers/{newer}").json()["slots"] == 2


def test_workers_are_paged(client, database, worker):
    second = new_id("wrk")
    knock(database, f"{second}/1", second)
    seen, after = [], None
    while True:
        page = client.get("/v1/workers", params={"limit": 1, **({"after": after} if after else {})}).json()
        seen += [entry["id"] for entry in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    with database.session() as session:
        leave(session, owner=f"{second}/1")
    assert {worker[0], second} <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(("path", "status"), [("wrk_00000000000000000000000000", 404), ("x", 422), ("..%2f..", 404)])
def test_a_worker_that_is_none(client, path, status):
    assert client.get(f"/v1/workers/{path}").status_code == status


def silence(database, owners, interval):
    with database.session() as session:
        for owner in owners:
            session.execute(
                text("UPDATE worker_slot SET seen_at = now() - CAST(:by AS interval) WHERE owner = :owner"),
                {"by": interval, "owner": owner},
            )
