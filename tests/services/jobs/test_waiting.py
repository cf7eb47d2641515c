"""A job that asks for more than any worker has waits, and says for what."""

from sqlalchemy import text

from services.jobs import repository
from services.jobs.claims import claim_next
from services.jobs.views import job_view
from services.jobs.waiting import note_waiting
from services.queue import queue_name
from tests.factories import add_job, read_job
from worker.recovery import recover


class Bell:
    def __init__(self):
        self.rung = []

    def ring(self, job_id, device):
        self.rung.append((job_id, queue_name(device)))


def test_a_job_of_several_processes_is_claimed_by_a_worker_that_has_as_many(database, tenant_id):
    job_id = add_job(database, tenant_id, device="cuda:2", priority=100)
    with database.session() as session:
        few = claim_next(session, owner="x", devices=["cuda", "cpu", "cpu:2"], lease_seconds=20)
        assert few is None or few.job_id != job_id
        assert claim_next(session, owner="x", devices=["cuda", "cuda:2"], lease_seconds=20).job_id == job_id


def test_a_job_that_nobody_can_take_says_so_once_until_it_is_claimed(database, tenant_id):
    large = add_job(database, tenant_id, device="cuda:8", priority=100)
    small = add_job(database, tenant_id)
    with database.session() as session:
        session.execute(text("UPDATE job SET rung_at = now() - interval '1 minute'"))
    bell = Bell()
    recover(database, bell)
    assert (large, "jobs.cuda") in bell.rung
    assert job_view(read_job(database, large))["reason"] == "waiting_for_gpus"
    assert job_view(read_job(database, small))["reason"] is None
    with database.session() as session:
        assert note_waiting(session, job_ids=[large, small]) == 0
    with database.read_session() as session:
        (event,) = (one for one in repository.events(session, job_id=large) if one.type == "job.waiting")
    assert (event.data["device"], event.data["processes"]) == ("cuda", 8)
    assert "8 GPUs" in event.data["detail"]
    with database.session() as session:
        assert claim_next(session, owner="x", devices=["cuda:8"], lease_seconds=20).job_id == large
    assert read_job(database, large).reason is None
