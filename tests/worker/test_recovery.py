"""A lock that somebody keeps delays one job; what nothing needs any more goes a day later, what is needed stays."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import text

from services.db.engine import Database
from services.db.models import Tenant
from services.db.webhook_models import Webhook
from services.identifiers import new_id
from services.storage import chunks
from tests.factories import add_job, claim, read_job
from worker import recovery


class Bell:
    """A doorbell that notes for whom it rang."""

    def __init__(self):
        self.rung = []

    def ring(self, job_id, device):
        self.rung.append(job_id)


@pytest.fixture
def patient(database, database_url):
    """The pool of a recovery that waits a fifth of a second for a lock; nothing else is in the queue."""
    with database.session() as session:
        session.execute(text("DELETE FROM job"))
    opened = Database(database_url, lock_seconds=0.2)
    yield opened
    opened.close()


@pytest.fixture
def told(database):
    """A tenant with a webhook that is told of everything: its row is referred to by each event."""
    tenant_id, webhook_id = new_id("ten"), new_id("whk")
    with database.session() as session:
        session.add(Tenant(id=tenant_id, name=tenant_id))
        session.flush()
        url = "https://example.com/hook"
        session.add(Webhook(id=webhook_id, tenant_id=tenant_id, url=url, events=["*"], secret="whsec_"))
    return tenant_id, webhook_id


@contextmanager
def locked(database, table, row_id) -> Iterator[None]:
    """Keep a row while the block runs, as a process that froze within a transaction does."""
    with database.session() as session:
        session.execute(text(f"SELECT 1 FROM {table} WHERE id = :id FOR UPDATE"), {"id": row_id})
        yield


def left_alone(database, tenant_id):
    """Return a job whose owner stopped renewing."""
    job_id = add_job(database, tenant_id)
    claim(database, lease_seconds=-1)
    return job_id


def states(database, *job_ids):
    return [read_job(database, job_id).state for job_id in job_ids]


def test_a_job_that_somebody_keeps_locked_is_passed_over_and_the_others_are_swept(database, patient, tenant_id):
    jobs = [left_alone(database, tenant_id) for _ in range(3)]
    with locked(database, "job", jobs[0]):
        assert recovery.sweep(patient) == 2
        assert states(database, *jobs) == ["starting", "queued", "queued"]
        assert recovery.sweep(patient) == 0
    assert recovery.sweep(patient) == 1
    assert states(database, *jobs) == ["queued"] * 3


def test_a_job_whose_event_waits_for_a_lock_keeps_neither_the_others_nor_the_recovery(
    database, patient, tenant_id, told, monkeypatch
):
    """Its webhook's row is kept, as by an API that froze while it deleted it."""
    monkeypatch.setattr(recovery, "RESTART_GRACE_SECONDS", 0.0)  # this test's PostgreSQL may be younger than that
    stuck, due = left_alone(database, told[0]), add_job(database, told[0])
    free, later = left_alone(database, tenant_id), add_job(database, tenant_id)
    bell = Bell()
    with database.session() as session:
        passed = "UPDATE job SET start_after = now(), held_until = now() WHERE id = ANY(:ids)"
        session.execute(text(passed), {"ids": [due, later]})
    with locked(database, "webhook", told[1]):
        recovery.recover(patient, bell)
        assert states(database, stuck, free) == ["starting", "queued"]
        assert bell.rung == [later]
    assert recovery.sweep(patient) == 1
    assert recovery.release_due(patient, bell) == 1
    assert states(database, stuck, free) == ["queued"] * 2
    assert bell.rung == [later, due]


def put(database, tenant_id, count, *, hours):
    with database.session() as session:
        chunks.put(session, tenant_id=tenant_id, chunks=[f"{hours}/{number}".encode() for number in range(count)])
        session.execute(
            text("UPDATE chunk SET created_at = now() - make_interval(hours => :hours) WHERE tenant_id = :tenant"),
            {"hours": hours, "tenant": tenant_id},
        )


def stored(database, tenant_id):
    with database.read_session() as session:
        return session.scalar(text("SELECT count(*) FROM chunk WHERE tenant_id = :tenant"), {"tenant": tenant_id})


@pytest.mark.parametrize(("hours", "left"), [(25, 0), (23, 1_200)])
def test_chunks_that_nothing_has_referred_to_for_a_day_are_collected(database, tenant_id, hours, left):
    put(database, tenant_id, 1_200, hours=hours)  # more than one batch
    assert recovery.collect(database) == 1_200 - left
    assert stored(database, tenant_id) == left


def test_a_collection_ends_so_that_the_recovery_behind_it_comes_in_time(database, tenant_id, monkeypatch):
    monkeypatch.setattr(recovery, "_GARBAGE_BATCHES", 2)
    put(database, tenant_id, 1_200, hours=25)
    assert recovery.collect(database) == 1_000
    assert recovery.collect(database) == 200


def test_the_scheduler_is_told_to_recover_and_fetch_often_and_to_collect_now_and_then(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from worker.app import app
    from worker.tasks import run_collection, run_fetches, run_recovery

    schedule = {entry["task"]: entry["schedule"] for entry in app.conf.beat_schedule.values()}
    expected = {run_recovery.name: 5.0, run_fetches.name: 5.0, run_collection.name: 60.0}
    assert expected.items() <= schedule.items()
