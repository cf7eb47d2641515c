"""Counters: each event once, whoever counts, and none before its transaction is over."""

import threading

from sqlalchemy import text

from services.db.models import Job
from services.errors import TrainingFailure
from services.jobs import outcomes
from services.jobs.states import add_event, transition
from services.telemetry import counters
from services.telemetry.gauges import read_gauges
from tests.factories import add_job, claim


def count(database):
    with database.session() as session:
        return counters.count_events(session, settled_seconds=0)


def totals(database):
    with database.read_session() as session:
        return counters.read(session)


def more(database, before):
    found = {key: value - before.get(key, 0) for key, value in totals(database).items()}
    return {key: value for key, value in found.items() if value}


def test_what_happens_to_jobs_is_counted_once(database, tenant_id):
    count(database)
    before = totals(database)
    add_job(database, tenant_id, priority=100)
    owner = claim(database)
    with database.session() as session:
        outcomes.mark_running(session, owner, environment={}, resume=None)
        add_event(session, session.get(Job, owner.job_id), "job.checkpoint", {"step": 1})
    lost = TrainingFailure("x", code="trainer_died", failure_class="infrastructure", retryable=True)
    with database.session() as session:
        outcomes.finish_failed(session, owner, lost)
    with database.session() as session:
        transition(session, session.get(Job, owner.job_id, with_for_update=True), "failed", reason="out_of_memory")
    assert count(database) > 0
    assert count(database) == 0
    assert more(database, before) == {
        ("attempts_started", ""): 1,
        ("checkpoints", ""): 1,
        ("attempts_failed", "trainer_died"): 1,
        ("jobs_ended", "failed"): 1,
        ("jobs_failed", "out_of_memory"): 1,
    }


def test_an_event_that_is_not_settled_yet_waits_and_with_it_those_behind_it(database, tenant_id):
    count(database)
    before = totals(database)
    job_id = add_job(database, tenant_id)
    for _ in range(3):
        with database.session() as session:
            add_event(session, session.get(Job, job_id), "job.checkpoint", {})
    with database.session() as session:
        newest = "(SELECT max(sequence) FROM job_event)"
        session.execute(
            text(f"UPDATE job_event SET created_at = now() - interval '1 hour' WHERE sequence <> {newest} - 1")
        )
        assert counters.count_events(session) == 1
    assert more(database, before) == {("checkpoints", ""): 1}
    assert count(database) == 2


def test_an_event_that_is_committed_after_its_successor_is_counted_too(database, tenant_id):
    count(database)
    before = totals(database)
    job_id = add_job(database, tenant_id)

    def happen(session):
        add_event(session, session.get(Job, job_id), "job.checkpoint", {})
        session.flush()

    with database.session() as session:
        happen(session)
        session.execute(text("UPDATE job_event SET created_at = now() - interval '1 hour'"))
    with database.session() as late:
        happen(late)
        with database.session() as session:
            happen(session)
        with database.session() as session:
            assert counters.count_events(session) == 1
    assert count(database) == 2
    assert more(database, before) == {("checkpoints", ""): 3}


def test_several_count_at_once_and_nothing_twice(database, tenant_id):
    count(database)
    before = totals(database)
    job_id = add_job(database, tenant_id)
    with database.session() as session:
        for _ in range(50):
            add_event(session, session.get(Job, job_id), "job.checkpoint", {})
    threads = [threading.Thread(target=count, args=(database,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count(database)
    assert more(database, before) == {("checkpoints", ""): 50}


def test_gauges_tell_the_queue_and_what_runs(database, tenant_id):
    with database.session() as session:
        session.execute(text("DELETE FROM job"))
    add_job(database, tenant_id)
    add_job(database, tenant_id, state="running", progress={"steps_per_second": 12.5})
    add_job(database, tenant_id, state="running", progress={"steps_per_second": None})
    add_job(database, tenant_id, state="succeeded", progress={"steps_per_second": 99.0})
    with database.session() as session:
        session.execute(text("UPDATE job SET lease_expires_at = now() + interval '20 s' WHERE state = 'running'"))
        session.execute(text("UPDATE job SET created_at = now() - interval '100 s' WHERE state = 'queued'"))
    with database.read_session() as session:
        found = read_gauges(session)
    assert (found.jobs["queued"], found.jobs["running"], found.jobs["starting"]) == (1, 2, 0)
    assert 100 <= found.oldest_queued_seconds < 200
    assert found.steps_per_second == 12.5
    assert (found.deliveries_pending, found.oldest_delivery_seconds) == (0, 0)
