"""A supervisor ends an attempt that cannot go on, and says why where the job's owner looks."""

import pytest
from sqlalchemy import select

from services.db.log_models import JobLogLine
from services.forkserver import ForkServer
from services.identifiers import new_id
from tests.factories import RESOLVED, add_job, claim, read_job
from worker import supervisor
from worker.supervisor import Site, supervise


def site_of(database, settings):
    return Site(database, settings, ForkServer(preload=[]), draining=lambda: False)


def messages(database, job_id):
    with database.read_session() as session:
        found = session.scalars(select(JobLogLine).where(JobLogLine.job_id == job_id))
        return [(line.level, line.message) for line in found]


def test_an_attempt_without_its_data_is_said_in_the_jobs_log(database, tenant_id, settings):
    lost = {**RESOLVED, "data": {"dataset": new_id("ds")}}
    job_id = add_job(database, tenant_id, resolved=lost)
    supervise(site_of(database, settings), claim(database))
    job = read_job(database, job_id)
    (line,) = messages(database, job_id)
    assert line[0] == "error"
    error = job.error or {}
    assert line[1].startswith(error["message"])
    assert f"({error['code']})" in line[1]


@pytest.mark.parametrize("failing", ["record", "spawn"])
def test_what_breaks_in_our_hands_is_settled_even_if_it_cannot_be_said(
    database, tenant_id, settings, monkeypatch, failing
):
    def broken(*_, **__):
        raise RuntimeError("by the test")

    job_id = add_job(database, tenant_id)
    monkeypatch.setattr(supervisor.Supervisor, "_spawn", broken)
    if failing == "record":
        monkeypatch.setattr(supervisor.Journal, "record", broken)
    supervise(site_of(database, settings), claim(database))
    job = read_job(database, job_id)
    assert (job.state, job.reason, job.crashes) == ("queued", "worker_error", 1)
    assert len(messages(database, job_id)) == (failing == "spawn")
