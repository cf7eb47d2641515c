"""Places in the line are those of the claim: what is foretold is what happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.db.models import Tenant
from services.identifiers import new_id
from services.jobs.claims import claim_next
from services.jobs.line import Group, Line, Running, Standing, read_line
from services.jobs.places import Waiting, place, waiting_of
from services.jobs.views import job_view
from services.workers.queries import Capacity
from services.workers.registry import SlotFacts, beat
from tests.factories import add_job, claim, read_job

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TWO_SLOTS = [Capacity(frozenset({"cpu"}), 2)]
ABOUT = {"device": {"type": "cpu", "name": None, "count": 1}, "versions": {}}


@pytest.fixture(autouse=True)
def _empty_queue(database):
    with database.session() as session:
        session.execute(text("DELETE FROM job"))
        session.execute(text("DELETE FROM worker_slot"))


def line(*, jobs=0, seconds=None, running=(), capacities=TWO_SLOTS, standing=None, scheduled=None) -> Line:
    lane = ("cpu", 0)
    keys = [(NOW - timedelta(minutes=jobs - number), f"job_{number}") for number in range(jobs)]
    groups = {"me": {lane: Group(jobs, seconds)}} if jobs else {}
    standings = {"me": standing} if standing else {}
    ran = [Running(*one) for one in running]
    return Line(NOW, groups, {("me", lane): keys}, 1, standings, ran, list(capacities), scheduled or {}, None)


def job(**changes) -> Waiting:
    given = {"job_id": "job_z", "tenant_id": "me", "device": "cpu", "priority": 0, "created_at": NOW, **changes}
    return Waiting(**{"start_after": None, **given})


def foretold(database, job_id):
    with database.read_session() as session:
        known = read_line(session, max_running_jobs=None)
    row = read_job(database, job_id)
    return place(known, waiting_of(job_view(row), tenant_id=row.tenant_id))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    running=st.lists(st.integers(0, 2), max_size=4),
    queued=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 0, 0, 5])), min_size=1, max_size=9),
)
def test_jobs_are_claimed_in_the_order_that_their_places_foretell(database, running, queued):
    with database.session() as session:
        session.execute(text("DELETE FROM job"))
        owners = [new_id("ten") for _ in range(3)]
        session.add_all(Tenant(id=one, name=one) for one in owners)
    for number in running:
        add_job(database, owners[number])
        claim(database)
    jobs = [add_job(database, owners[number], priority=priority) for number, priority in queued]
    ahead = {job_id: foretold(database, job_id)["ahead"] for job_id in jobs}
    claimed = [claim(database).job_id for _ in jobs]
    off = [abs(ahead[job_id] - place) for place, job_id in enumerate(claimed)]
    one_priority = len({priority for _, priority in queued}) == 1
    # With several priorities it is not known who is served last before the turns of the lower one begin.
    assert max(off) <= (0 if one_priority else 2)


def test_of_a_long_line_places_lie_between_those_that_are_known(database, tenant_id, monkeypatch):
    monkeypatch.setattr("services.jobs.line.MAX_KEYS", 10)
    jobs = [add_job(database, tenant_id) for _ in range(40)]
    for number, job_id in enumerate(jobs):
        assert abs(foretold(database, job_id)["position"] - (number + 1)) <= 3


def test_a_job_waits_for_those_before_it_to_go_through_the_slots_that_are_there():
    busy = [("you", "cpu", 10.0), ("you", "cpu", 30.0)]
    assert eta(line(running=busy), job()) == 10
    assert eta(line(jobs=1, seconds=20.0, running=busy), job()) == 30
    assert eta(line(jobs=2, seconds=20.0, running=busy), job()) == 40
    assert eta(line(jobs=3), job()) is None  # nobody knows how long any of them takes
    assert eta(line(running=[("you", "cpu", None)] * 2), job()) is None
    assert eta(line(), job()) == 0


def test_a_tenant_at_its_limit_waits_for_its_own_jobs_whatever_slots_are_free():
    many = [Capacity(frozenset({"cpu"}), 9)]
    full = line(running=[("me", "cpu", 50.0)], capacities=many, standing=Standing(1, 1, NOW))
    assert eta(full, job()) == 50
    assert place(full, job())["waiting_for"] == {
        "code": "tenant_limit",
        "detail": "Your limit of running jobs is reached: 1 run, of at most 1.",
    }


@pytest.mark.parametrize(
    ("known", "waiting", "code", "detail"),
    [
        (line(capacities=[]), job(), "no_worker", "No worker takes jobs right now."),
        (line(), job(device="cuda"), "no_device", "No worker has a CUDA device."),
        (line(), job(device="cuda:4"), "no_device", "No worker trains with 4 GPUs."),
        (line(), job(device="cpu:2"), "no_device", "No worker trains with 2 processes on its CPU."),
        (line(capacities=[Capacity(frozenset({"cuda"}), 1)]), job(), "no_device", "No worker trains on a CPU."),
        (line(jobs=1), job(), "jobs_ahead", "1 job goes first."),
        (line(jobs=3), job(), "jobs_ahead", "3 jobs go first."),
        (line(running=[("x", "cpu", 1.0)] * 2), job(), "free_slot", "Every slot that can run it is taken."),
        (line(), job(device="auto"), "claim", "A worker is about to take it."),
        (line(), job(start_after=NOW - timedelta(1)), "claim", "A worker is about to take it."),
    ],
)
def test_what_a_job_waits_for_is_said(known, waiting, code, detail):
    assert place(known, waiting)["waiting_for"] == {"code": code, "detail": detail}


def test_a_job_whose_start_lies_ahead_has_no_place_yet():
    found = place(line(jobs=2), job(start_after=NOW + timedelta(hours=1)))
    assert (found["position"], found["ahead"], found["eta"]) == (None, None, "2026-11-23T13:00:00.000000Z")
    assert found["waiting_for"]["code"] == "start_time"
    assert "2026-11-23T13:00:00" in found["waiting_for"]["detail"]


def test_the_line_knows_the_slots_that_are_alive_and_take_jobs(database, tenant_id):
    for owner, draining in (("a/1", False), ("a/2", False), ("b/1", True), ("c/1", False)):
        with database.session() as session:
            beat(session, SlotFacts(owner, new_id("wrk"), ["cpu"], ABOUT), draining=draining)
    with database.session() as session:
        session.execute(text("UPDATE worker_slot SET seen_at = now() - interval '1 minute' WHERE owner = 'c/1'"))
    with database.read_session() as session:
        assert read_line(session, max_running_jobs=None).capacities == TWO_SLOTS


def test_what_runs_counts_with_what_it_needs_by_its_pace_or_its_estimate(database, tenant_id):
    pace = {"steps_per_second": 2.0, "step": 60, "total_steps": 100}
    for progress, estimate in ((pace, None), ({}, {"likely_seconds": 500.0}), ({}, None)):
        add_job(database, tenant_id, progress=progress, estimate=estimate)
        claim(database)
    with database.read_session() as session:
        known = read_line(session, max_running_jobs=7)
    remaining = sorted((one.remaining for one in known.running), key=lambda one: one or 0)
    assert remaining[0] is None
    assert remaining[1] == 20.0
    assert 400 < remaining[2] <= 500
    assert known.standings[tenant_id].running == 3
    assert known.standings[tenant_id].limit == 7


def eta(known: Line, waiting: Waiting) -> float | None:
    """Return in how many seconds the job is foretold to start."""
    found = place(known, waiting)["eta"]
    return found and (datetime.fromisoformat(found) - NOW).total_seconds()


def test_without_devices_of_its_own_a_claimer_takes_what_any_can_run(database, tenant_id):
    add_job(database, tenant_id)
    with database.session() as session:
        assert claim_next(session, owner="x", devices=[], lease_seconds=20) is not None
