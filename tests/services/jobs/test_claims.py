"""Who owns a job: claims, leases, fences."""

import threading
import time

import pytest
from sqlalchemy import text

from services.db.engine import Database
from services.errors import Fenced
from services.jobs.claims import Claim, claim_next, lock_claimed, read_control, renew
from services.jobs.outcomes import finish_succeeded, mark_running
from tests.factories import add_job, claim, read_job
from worker.recovery import sweep


@pytest.fixture(autouse=True)
def _empty_queue(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM job"))


def test_a_claim_takes_the_highest_priority_then_the_oldest(database: Database, tenant_id: str) -> None:
    first = add_job(database, tenant_id)
    second = add_job(database, tenant_id)
    urgent = add_job(database, tenant_id, priority=5)
    assert [claim(database).job_id for _ in range(3)] == [urgent, first, second]


def test_a_claim_takes_only_jobs_for_devices_that_are_there(database: Database, tenant_id: str) -> None:
    add_job(database, tenant_id, device="cuda")
    with database.session() as session:
        assert claim_next(session, owner="x", devices=["cpu"], lease_seconds=20) is None
        assert claim_next(session, owner="x", devices=["cuda"], lease_seconds=20) is not None


def test_fifty_claimers_at_once_get_fifty_different_jobs(database: Database, tenant_id: str) -> None:
    jobs = {add_job(database, tenant_id) for _ in range(50)}
    claimed: list[str] = []

    def work() -> None:
        for _ in range(5):
            claimed.append(claim(database).job_id)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 50
    assert set(claimed) == jobs


def test_every_claim_raises_the_epoch_and_the_attempt(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    first = claim(database, lease_seconds=-1)
    assert sweep(database) == 1
    second = claim(database)
    assert (first.epoch, second.epoch) == (1, 2)
    assert (first.attempt, second.attempt) == (1, 2)
    assert read_job(database, job_id).owner == "test/1"


def test_a_zombie_can_neither_renew_nor_read_nor_write(database: Database, tenant_id: str) -> None:
    add_job(database, tenant_id)
    zombie = claim(database, lease_seconds=-1)
    sweep(database)
    claim(database)
    for touch in (_renew, _read, _lock, _finish):
        with pytest.raises(Fenced):
            touch(database, zombie)


def test_a_renewed_lease_is_not_swept(database: Database, tenant_id: str) -> None:
    add_job(database, tenant_id)
    owner = claim(database, lease_seconds=0.2)
    _renew(database, owner)
    time.sleep(0.3)
    assert sweep(database) == 0


def test_many_sweepers_sweep_a_lease_once(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    claim(database, lease_seconds=-1)
    swept: list[int] = []
    threads = [threading.Thread(target=lambda: swept.append(sweep(database))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(swept) == 1
    assert [entry["state"] for entry in read_job(database, job_id).transitions] == ["queued", "starting", "queued"]


def test_finishing_twice_after_a_commit_of_unknown_outcome_changes_nothing(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    owner = claim(database)
    with database.session() as session:
        mark_running(session, owner, environment={}, resume=None)
    _finish(database, owner)
    finished = read_job(database, job_id)
    _finish(database, owner)
    assert read_job(database, job_id).version == finished.version
    assert finished.state == "succeeded"


def _renew(database: Database, owner: Claim) -> None:
    with database.session() as session:
        renew(session, owner, lease_seconds=20)


def _read(database: Database, owner: Claim) -> None:
    with database.read_session() as session:
        read_control(session, owner)


def _lock(database: Database, owner: Claim) -> None:
    with database.session() as session:
        lock_claimed(session, owner)


def _finish(database: Database, owner: Claim) -> None:
    with database.session() as session:
        finish_succeeded(session, owner, reason=None)
