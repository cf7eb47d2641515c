"""How attempts end."""

import pytest
from sqlalchemy import text

from services.db.engine import Database
from services.errors import FailureClass, TrainingFailure
from services.jobs import outcomes
from services.jobs.claims import Claim, lock_claimed
from services.jobs.steering import request_cancel, request_pause, resume
from services.queue import Doorbell
from tests.factories import add_job, claim, read_job


@pytest.fixture(autouse=True)
def _empty_queue(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM job"))


def test_a_fault_of_the_request_is_final(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    _fail(database, _started(database), "user", retryable=False)
    job = read_job(database, job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert (job.error["class"], job.error["code"], job.error["hint"]) == ("user", "broken", "mend it")


def test_a_fault_of_the_machine_goes_back_to_the_queue(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    _fail(database, _started(database), "infrastructure", retryable=True)
    job = read_job(database, job_id)
    assert (job.state, job.reason, job.error) == ("queued", "broken", None)


def test_two_deaths_in_a_row_without_a_new_checkpoint_end_the_job(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    for _ in range(2):
        _fail(database, _started(database), "infrastructure", retryable=True)
    job = read_job(database, job_id)
    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "worker_crashed_repeatedly"
    assert job.error["class"] == "infrastructure"


def test_a_trainer_that_hangs_twice_ends_the_job_as_stalled(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    for expected in ("queued", "failed"):
        _fail(database, _started(database), "infrastructure", retryable=True, code="stalled")
        assert read_job(database, job_id).state == expected
        with database.session() as session:  # not even checkpoints in between earn it a third try
            session.execute(text("UPDATE job SET barren_attempts = 0"))
    error = read_job(database, job_id).error
    assert error is not None
    assert (error["code"], error["retryable"], error["hint"]) == ("stalled", False, "mend it")


def test_a_job_that_finds_no_room_rests_and_has_not_crashed(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    for begin in (claim, _started):
        _fail(database, begin(database), "infrastructure", retryable=True, code="storage_full")
        job = read_job(database, job_id)
        assert (job.state, job.reason, job.error, job.crashes, job.owner) == ("paused", "storage_full", None, 0, None)
        with database.session() as session:
            resume(session, tenant_id=tenant_id, job_id=job_id, doorbell=Silent())


def test_a_job_that_is_cancelled_while_there_is_no_room_is_cancelled(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database)
    with database.session() as session:
        request_cancel(session, tenant_id=tenant_id, job_id=job_id)
    _fail(database, owner, "infrastructure", retryable=True, code="storage_full")
    assert read_job(database, job_id).state == "cancelled"


def test_deaths_that_make_progress_are_retried_five_times(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    for expected in ["queued"] * 4 + ["failed"]:
        _fail(database, _started(database), "infrastructure", retryable=True)
        assert read_job(database, job_id).state == expected
        with database.session() as session:  # as storing a checkpoint does
            session.execute(text("UPDATE job SET barren_attempts = 0"))


def test_a_job_is_cancelled_for_the_reason_of_whoever_asked_first(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    claimed = _started(database)
    for reason in ("pruned", "cancel_requested"):
        with database.session() as session:
            request_cancel(session, tenant_id=tenant_id, job_id=job_id, reason=reason)
    with database.session() as session:
        outcomes.finish_cancelled(session, claimed)
    job = read_job(database, job_id)
    assert (job.state, job.reason) == ("cancelled", "pruned")


def test_a_worker_that_drains_costs_no_retry(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    for _ in range(10):
        with database.session() as session:
            outcomes.give_back(session, _started(database), reason="worker_draining")
    job = read_job(database, job_id)
    assert (job.state, job.reason, job.crashes) == ("queued", "worker_draining", 0)


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("end", ["failed", "given back", "cancelled"])
def test_a_job_whose_cancel_was_requested_ends_cancelled_however_its_attempt_ends(
    database: Database, tenant_id: str, started: bool, end: str
) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database) if started else claim(database)
    with database.session() as session:
        request_cancel(session, tenant_id=tenant_id, job_id=job_id)
    if end == "failed":
        _fail(database, owner, "infrastructure", retryable=True)
    elif end == "given back":
        with database.session() as session:
            outcomes.give_back(session, owner, reason="worker_draining")
    else:
        with database.session() as session:
            outcomes.finish_cancelled(session, owner)
    assert read_job(database, job_id).state == "cancelled"


def test_a_job_that_finished_before_it_read_the_cancel_has_succeeded(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database)
    with database.session() as session:
        request_cancel(session, tenant_id=tenant_id, job_id=job_id)
    with database.session() as session:
        outcomes.finish_succeeded(session, owner, reason=None)
    assert read_job(database, job_id).state == "succeeded"


@pytest.mark.parametrize("way", ["given back", "trainer died", "worker lost"])
def test_a_job_that_was_told_to_pause_rests_however_its_attempt_ends(
    database: Database, tenant_id: str, way: str
) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database)
    with database.session() as session:
        request_pause(session, tenant_id=tenant_id, job_id=job_id)
    if way == "given back":
        with database.session() as session:
            outcomes.give_back(session, owner, reason="worker_draining")
    elif way == "trainer died":
        _fail(database, owner, "infrastructure", retryable=True)
    else:
        with database.session() as session:
            outcomes.expire(session, lock_claimed(session, owner))
    job = read_job(database, job_id)
    assert (job.state, job.reason, job.owner) == ("paused", "pause_requested", None)


def test_a_job_that_failed_by_its_own_fault_while_it_paused_has_failed(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database)
    with database.session() as session:
        request_pause(session, tenant_id=tenant_id, job_id=job_id)
    _fail(database, owner, "user", retryable=False)
    assert read_job(database, job_id).state == "failed"


def test_a_cancel_outdoes_a_pause(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    owner = _started(database)
    for ask in (request_pause, request_cancel):
        with database.session() as session:
            ask(session, tenant_id=tenant_id, job_id=job_id)
    with database.session() as session:
        outcomes.give_back(session, owner, reason="worker_draining")
    assert read_job(database, job_id).state == "cancelled"


def _started(database: Database) -> Claim:
    owner = claim(database)
    with database.session() as session:
        outcomes.mark_running(session, owner, environment={}, resume=None)
    return owner


def _fail(
    database: Database, owner: Claim, failure_class: FailureClass, *, retryable: bool, code: str = "broken"
) -> None:
    failure = TrainingFailure("It broke.", code=code, failure_class=failure_class, retryable=retryable, hint="mend it")
    with database.session() as session:
        outcomes.finish_failed(session, owner, failure)


class Silent(Doorbell):
    """Rings nobody."""

    def __init__(self) -> None:
        pass

    def ring(self, job_id: str, device: str) -> bool:
        return False
