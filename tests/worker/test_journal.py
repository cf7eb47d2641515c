"""What a trainer says about its execution is kept on the job, and told as an event once."""

import time
from dataclasses import replace

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import select

from services.checkpoints.service import list_checkpoints
from services.db.models import JobEvent
from services.jobs.views import job_view
from services.metrics import repository
from services.metrics.service import full_series
from tests.factories import add_job, claim, read_job
from tests.stack import until
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


def checkpoint(folder, step, *, final=False):
    directory = folder / f"step-{step}"
    directory.mkdir(exist_ok=True)
    for name in ("weights.safetensors", "state.safetensors"):
        save_file({"w": np.full(4, step)}, directory / name)
    (directory / "state.json").write_text("{}")
    files = {"weights": "weights.safetensors", "state": "state.safetensors", "meta": "state.json"}
    event = {"event": "checkpoint", "step": step, "epoch": 1, "files": files, "metrics": {}, "final": final}
    return {**event, "directory": str(directory)}


def test_a_long_run_leaves_one_checkpoint_on_the_workers_disk(database, tenant_id, settings, tmp_path):
    job_id = add_job(database, tenant_id)
    journal = Journal(Lease(database, claim(database), settings), database)
    for step in (1, 2, 3):
        journal.record([checkpoint(tmp_path, step)])
    assert [folder.name for folder in tmp_path.glob("step-*")] == ["step-3"]
    journal.record([checkpoint(tmp_path, 3, final=True)])  # announced again, now as the last one
    with database.read_session() as session:
        page = list_checkpoints(session, tenant_id=tenant_id, job_id=job_id)
    assert [(one["step"], one["final"]) for one in page.data] == [(3, True), (2, False), (1, False)]


def test_the_lease_is_renewed_while_a_checkpoint_is_stored_however_long_that_takes(
    database, tenant_id, settings, tmp_path, monkeypatch
):
    job_id = add_job(database, tenant_id)
    lease = Lease(database, claim(database), replace(settings, renew_seconds=0.01))
    first = read_job(database, job_id).lease_expires_at

    def store_slowly(*_arguments, **_options):
        until(lambda: read_job(database, job_id).lease_expires_at > first, seconds=60)

    monkeypatch.setattr("worker.journal.store", store_slowly)
    Journal(lease, database).record([checkpoint(tmp_path, 1)])
    assert read_job(database, job_id).lease_expires_at > first


def test_the_pace_is_that_of_training_on_the_device_that_the_trainer_named(database, tenant_id, settings):
    add_job(database, tenant_id)
    journal = Journal(Lease(database, claim(database), settings), database)
    environment = {"device": "cuda", "torch": "2.13.0"}
    journal.record([{"event": "started", "environment": environment, "pid": 1, "resumed_from_step": None}])
    journal.record([{"event": "phase", "phase": "loading_data"}])
    assert journal.pace is None
    journal.record([{"event": "phase", "phase": "training"}])
    time.sleep(0.05)
    journal.record(
        [{"event": "phase", "phase": "evaluating"}, {"event": "finished", "outcome": "succeeded", "step": 7}]
    )
    pace = journal.pace
    assert pace is not None
    assert (pace.device, pace.steps) == ("cuda", 7)
    assert 0.05 <= pace.training_seconds < 5


def report(step):
    series = {"train/loss": {"steps": [step], "values": [1 / step]}}
    counts = {"epoch": 0, "total_epochs": 1, "step": step, "total_steps": 999, "steps_per_second": 1.0}
    return {"event": "metrics", **counts, "series": series, "latest": {"train/loss": 1 / step}}


def test_the_metrics_of_many_small_reports_are_put_together_and_go_on(database, tenant_id, settings, monkeypatch):
    monkeypatch.setattr("worker.journal.COMPACT_REPORTS", 4)
    monkeypatch.setattr("worker.journal.GATHER_SECONDS", 0.0)
    job_id = add_job(database, tenant_id)
    journal = Journal(Lease(database, claim(database), settings), database)
    for step in range(1, 12):
        journal.record([report(step)])
        journal.record([])
    with database.read_session() as session:
        outlines = repository.outlines(session, job_id=job_id, names=None, after_step=None)
        steps, values = full_series(session, job_id=job_id, name="train/loss")
    assert steps.tolist() == list(range(1, 12))
    assert values.tolist() == [1 / step for step in range(1, 12)]
    assert [one.count for one in outlines] == [8, 1, 1, 1]
