"""What nothing needs any more goes a day later, in small transactions; what is needed stays."""

import pytest
from sqlalchemy import text

from services.storage import chunks
from worker import recovery


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
