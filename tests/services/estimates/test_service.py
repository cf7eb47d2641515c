"""Estimates from what is known: the tenant's own past jobs, a probe, similar jobs; and what is kept of a job's end."""

import pytest
from sqlalchemy import text

from services.estimates import history
from services.estimates.record import Pace
from services.estimates.service import Subject, estimate
from services.estimates.work import work_of
from services.identifiers import new_id
from services.jobs import outcomes
from services.jobs.views import job_view
from tests.factories import add_job, claim, read_job
from tests.worker.trainer.harness import make_job

SHA = "a" * 64
MEMORY = {"weights": 100, "buffers": 0, "gradients": 100, "optimizer": 200, "activations_per_sample": 100}
REPORT = {"operations_per_sample": 5_000, "memory_bytes": MEMORY}


class Preflight:
    """Answers as the real one does; a test says what a probe finds."""

    def __init__(self, settings, probe=None):
        self.settings, self.probe, self.asked, self.known = settings, probe, 0, None

    def measured(self, target, plan):
        return self.known

    def measure(self, target, plan, *, seconds):
        self.asked += 1
        self.known = self.probe
        return self.probe


@pytest.fixture(autouse=True)
def _empty(database):
    with database.session() as session:
        session.execute(text("DELETE FROM job"))


@pytest.fixture
def resolved(tmp_path):
    job = make_job(tmp_path, epochs=4)
    return {**job, "resources": {"device": "auto"}, "data": {**job["data"], "dataset": "digits"}}


def run(database, tenant_id, resolved, *, seconds, sha256=SHA, device="cpu", estimated=None, reason=None, steps=None):
    """Let a job begin and end well that took ``seconds`` of training and half a second besides."""
    told = None if estimated is None else {"likely_seconds": estimated, "basis": "past_jobs", "low_seconds": 0.1}
    job_id = add_job(
        database,
        tenant_id,
        definition_sha256=sha256,
        resolved=resolved,
        preflight=REPORT,
        estimate=told,
        device="auto",
    )
    with database.session() as session:
        session.execute(text("UPDATE job SET priority = 100 WHERE id = :id"), {"id": job_id})
    owner = claim(database)
    assert owner.job_id == job_id
    pace = Pace(device, seconds, steps or resolved["training"]["total_steps"])
    with database.session() as session:
        outcomes.mark_running(session, owner, environment={}, resume=None)
        ago = {"id": job_id, "seconds": seconds + 0.5}
        session.execute(text("UPDATE job SET started_at = now() - make_interval(secs => :seconds) WHERE id = :id"), ago)
        outcomes.finish_succeeded(session, owner, reason=reason, pace=pace)  # in one transaction: the clock stands
    return job_id


def ask(database, tenant_id, resolved, preflight, *, may_probe=False, sha256=SHA, **memory):
    report = {**REPORT, "memory_bytes": {**MEMORY, **memory}}
    subject = Subject(tenant_id, sha256, {"max_runtime_seconds": 3600, **resolved}, report)
    with database.read_session() as session:
        return estimate(session, subject, preflight=preflight, may_probe=may_probe)


def with_batches(resolved, tmp_path, size):
    job = make_job(tmp_path, epochs=4, data={"batch_size": size})
    return {**resolved, "data": {**resolved["data"], **job["data"], "dataset": "digits"}, "training": job["training"]}


def test_nothing_is_known_at_first_and_it_says_so(database, tenant_id, resolved, settings):
    found = ask(database, tenant_id, resolved, Preflight(settings))
    assert (found["basis"], found["likely_seconds"], found["estimate_error"]) == (None, None, None)
    assert "cpu" in found["detail"]
    on_gpu = {**resolved, "resources": {"device": "cuda"}}
    probing = Preflight(settings, {"step_seconds": 1.0, "forward_seconds": 1.0, "steps": 3})
    found = ask(database, tenant_id, on_gpu, probing, may_probe=True)
    assert (found["device"], found["basis"], probing.asked) == ("cuda", None, 0)


def test_the_tenants_own_jobs_of_the_same_model_come_first(database, tenant_id, resolved, settings):
    for seconds in (2.0, 2.2, 2.1):
        run(database, tenant_id, resolved, seconds=seconds)
    probing = Preflight(settings, {"step_seconds": 9.0, "forward_seconds": 9.0, "steps": 3})
    found = ask(database, tenant_id, resolved, probing, may_probe=True)
    assert (found["basis"], found["samples"], found["device"], probing.asked) == ("past_jobs", 3, "cpu", 0)
    assert found["likely_seconds"] == pytest.approx(2.6, abs=0.05)
    assert found["low_seconds"] < found["likely_seconds"] < found["high_seconds"]


def test_jobs_in_several_processes_are_compared_with_their_like_alone(database, tenant_id, resolved, settings):
    run(database, tenant_id, resolved, seconds=2.0)
    shared = {**resolved, "resources": {"device": "cpu", "gpus": None, "processes": 2}}
    probing = Preflight(settings, {"step_seconds": 9.0, "forward_seconds": 9.0, "steps": 3})
    found = ask(database, tenant_id, shared, probing, may_probe=True)
    assert (found["basis"], probing.asked) == (None, 0)
    assert "one process" in found["detail"]
    run(database, tenant_id, shared, seconds=1.0)
    assert ask(database, tenant_id, shared, probing)["samples"] == 1


def test_of_others_jobs_only_the_speed_is_used_never_that_they_have_the_same_model(
    database, tenant_id, resolved, settings
):
    with database.session() as session:
        stranger = new_id("ten")
        session.execute(text("INSERT INTO tenant (id, name) VALUES (:id, :id)"), {"id": stranger})
    run(database, stranger, resolved, seconds=2.0)
    found = ask(database, tenant_id, resolved, Preflight(settings))
    same_speed = ask(database, tenant_id, resolved, Preflight(settings), sha256="b" * 64)
    assert found["basis"] == "similar_jobs"
    assert found == same_speed


def test_a_probe_is_asked_once_and_then_remembered_also_by_who_may_not_ask(database, tenant_id, resolved, settings):
    probing = Preflight(settings, {"step_seconds": 0.01, "forward_seconds": 0.004, "steps": 20})
    assert ask(database, tenant_id, resolved, probing)["basis"] is None
    found = ask(database, tenant_id, resolved, probing, may_probe=True)
    work = work_of(resolved, operations_per_sample=None)
    seconds = 0.3 + 0.01 * work.train_batches + 0.004 * work.evaluation_batches
    assert (found["basis"], found["samples"]) == ("probe", 20)
    assert found["likely_seconds"] == pytest.approx(seconds, rel=0.01)
    assert ask(database, tenant_id, resolved, probing)["likely_seconds"] == found["likely_seconds"]
    assert ask(database, tenant_id, resolved, probing, may_probe=True) == found
    assert probing.asked == 1


@pytest.mark.parametrize("report", [None, {"failed": "RuntimeError"}])
def test_a_probe_that_fails_leaves_what_similar_jobs_say(database, tenant_id, resolved, settings, report):
    found = ask(database, tenant_id, resolved, Preflight(settings, report), may_probe=True)
    assert found["basis"] is None
    run(database, tenant_id, {**resolved, "data": {**resolved["data"], "batch_size": 8}}, seconds=3.0)
    found = ask(database, tenant_id, resolved, Preflight(settings, report), may_probe=True)
    assert found["basis"] == "similar_jobs"


@pytest.mark.parametrize("memory", [{"optimizer": 1 << 30}, {"activations_per_sample": 1 << 28}])
def test_what_would_fill_the_memory_of_the_api_is_not_probed(database, tenant_id, resolved, settings, memory):
    probing = Preflight(settings, {"step_seconds": 0.01, "forward_seconds": 0.004, "steps": 20})
    found = ask(database, tenant_id, resolved, probing, may_probe=True, **memory)
    assert (found["basis"], probing.asked) == (None, 0)
    assert "too large" in found["detail"]


def test_another_precision_or_optimizer_is_another_speed(database, tenant_id, resolved, settings):
    run(database, tenant_id, resolved, seconds=2.0)
    other = {**resolved, "training": {**resolved["training"], "precision": "bf16"}}
    assert ask(database, tenant_id, other, Preflight(settings))["basis"] is None


def test_auto_is_where_the_same_model_ran_last(database, tenant_id, resolved, settings):
    run(database, tenant_id, resolved, seconds=2.0, device="cuda")
    assert ask(database, tenant_id, resolved, Preflight(settings))["device"] == "cuda"
    asked = {**resolved, "resources": {"device": "cpu"}}
    assert ask(database, tenant_id, asked, Preflight(settings))["device"] == "cpu"


def test_an_estimate_is_compared_with_what_came_of_it(database, tenant_id, resolved, settings):
    job_id = run(database, tenant_id, resolved, seconds=2.0, estimated=2.0)
    found = ask(database, tenant_id, resolved, Preflight(settings))
    assert found["estimate_error"]["n"] == 1
    assert found["estimate_error"]["median"] == pytest.approx(0.25, abs=0.02)
    shown = job_view(read_job(database, job_id))["estimate"]
    assert shown["likely_seconds"] == 2.0
    assert shown["actual_seconds"] == pytest.approx(2.5, abs=0.1)


def test_the_error_is_that_of_the_same_basis_and_device(database, tenant_id, resolved):
    for seconds, estimated in ((10.5, 10.0), (4.5, 10.0), (9.5, 10.0)):
        run(database, tenant_id, resolved, seconds=seconds, estimated=estimated)
    with database.read_session() as session:
        assert history.error(session, device="cuda", basis="past_jobs") is None
        assert history.error(session, device="cpu", basis="probe") is None
        found = history.error(session, device="cpu", basis="past_jobs")
    assert found["n"] == 3
    assert (found["median"], found["p90"]) == (pytest.approx(0.1, abs=0.02), pytest.approx(0.5, abs=0.02))


def test_a_job_that_was_cut_short_tells_its_speed_but_not_how_wrong_we_were(database, tenant_id, resolved, settings):
    steps = resolved["training"]["total_steps"] // 2
    job_id = run(database, tenant_id, resolved, seconds=1.1, estimated=9.0, reason="early_stopped", steps=steps)
    found = ask(database, tenant_id, resolved, Preflight(settings))
    assert found["estimate_error"] is None
    assert found["likely_seconds"] == pytest.approx(0.5 + 2.1, abs=0.15)
    assert job_view(read_job(database, job_id))["estimate"]["actual_seconds"] is None


def test_no_estimate_is_longer_than_the_job_may_run(database, tenant_id, resolved, settings):
    run(database, tenant_id, resolved, seconds=2.0)
    found = ask(database, tenant_id, {**resolved, "max_runtime_seconds": 1}, Preflight(settings))
    assert (found["low_seconds"], found["likely_seconds"], found["high_seconds"]) == (1.0, 1.0, 1.0)


def test_a_later_attempt_tells_nothing(database, tenant_id, resolved, settings):
    job_id = add_job(database, tenant_id, definition_sha256=SHA, resolved=resolved, preflight=REPORT, attempt=1)
    owner = claim(database)
    with database.session() as session:
        outcomes.mark_running(session, owner, environment={}, resume="exact")
        outcomes.finish_succeeded(session, owner, reason=None, pace=Pace("cpu", 1.0, 24))
    assert read_job(database, job_id).attempt == 2
    assert ask(database, tenant_id, resolved, Preflight(settings))["basis"] is None


def test_the_open_batch_size_is_the_trainers_to_find(database, tenant_id, resolved, settings, tmp_path):
    found = ask(database, tenant_id, with_batches(resolved, tmp_path, "auto"), Preflight(settings), may_probe=True)
    assert found["basis"] is None
    assert "batch size" in found["detail"]
