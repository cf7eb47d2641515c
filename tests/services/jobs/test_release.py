"""After a restore every job that had a worker is queued again, and no crash is counted."""

import pytest

from services.db.engine import Database
from services.errors import Fenced
from services.jobs import outcomes, steering
from services.jobs.release import release_all
from tests.factories import add_job, claim, read_job


def test_a_running_job_is_queued_again_and_its_old_worker_refused(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id)
    old = claim(database)
    with database.session() as session:
        outcomes.mark_running(session, old, environment={}, resume=None)
    with database.session() as session:
        assert release_all(session) == 1
    job = read_job(database, job_id)
    assert (job.state, job.reason, job.owner, job.lease_expires_at) == ("queued", "restored", None, None)
    assert (job.crashes, job.barren_attempts, job.attempt) == (0, 0, 1)
    new = claim(database)
    assert (new.job_id, new.attempt) == (job_id, 2)
    with pytest.raises(Fenced), database.session() as session:
        outcomes.finish_succeeded(session, old, reason=None)
    with database.session() as session:
        outcomes.mark_running(session, new, environment={}, resume=None)
        outcomes.finish_succeeded(session, new, reason=None)


@pytest.mark.parametrize(("ask", "state"), [(steering.request_cancel, "cancelled"), (steering.request_pause, "paused")])
def test_what_was_asked_of_the_lost_worker_is_done(database: Database, tenant_id: str, ask, state: str) -> None:
    job_id = add_job(database, tenant_id)
    claim(database)
    with database.session() as session:
        ask(session, tenant_id=tenant_id, job_id=job_id)
    with database.session() as session:
        assert release_all(session) == 1
    assert read_job(database, job_id).state == state


def test_jobs_without_a_worker_are_left_as_they_are(database: Database, tenant_id: str) -> None:
    job_id = add_job(database, tenant_id, state="paused")
    before = read_job(database, job_id).version
    with database.session() as session:
        assert release_all(session) == 0
    assert read_job(database, job_id).version == before
