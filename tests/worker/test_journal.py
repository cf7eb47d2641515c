"""What a trainer says about its execution is kept on the job, and told as an event once."""

import time

from sqlalchemy import select

from services.db.models import JobEvent
from services.jobs.views import job_view
from tests.factories import add_job, claim, read_job
from worker.journal import GATHER_SECONDS, Journal
from worker.lease import Lease

STATIC = {"event": "execution", "execution": "static", "seconds": 1.5, "reason": None, "backend": "eager"}
DYNAMIC = {
    **STATIC,
    "execution": "dynamic",
    "reason": {"code": "static_graph_changed", "pointer": "/training/execution"},
}


def test_the_job_says_how_it_trains_and_that_it_changed(database, tenant_id, settings):
    job_id = add_job(database, tenant_id)
    journal = Journal(Lease(database, claim(database), settings), database)
    for event in (STATIC, STATIC, DYNAMIC):  # the second one is what an attempt that resumes says again
        journal.record([event])
        time.sleep(GATHER_SECONDS)
        journal.record([])
    assert job_view(read_job(database, job_id))["execution"] == {
        name: value for name, value in DYNAMIC.items() if name != "event"
    }
    with database.read_session() as session:
        said = session.scalars(
            select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.type == "job.execution")
        ).all()
    assert [one.data["execution"] for one in said] == ["static", "dynamic"]
