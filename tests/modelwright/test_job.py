import math

import pytest

from modelwright import Client, Job, JobFailed, Metrics
from modelwright.transport import RetryPolicy
from tests.modelwright.scripted import reply, scripted

QUICK = RetryPolicy(attempts=2, first_seconds=0.01)
RUNNING = {"id": "job_1", "state": "running", "terminal": False}
DONE = {"id": "job_1", "state": "succeeded", "terminal": True}
CANCELLED = {"id": "job_1", "state": "cancelled", "terminal": True, "reason": "cancel_requested"}


@pytest.fixture
def asked():
    """A function that gives a job whose service answers as told."""
    services = []

    def job(*answers) -> Job:
        manager = scripted(reply(201, RUNNING), *answers)
        services.append(manager)
        service = manager.__enter__()
        made = Client(service.url, "mw_key", retries=QUICK).submit({"model": "Linear(1, 1)"})
        made.service = service
        return made

    yield job
    for manager in services:
        manager.__exit__(None, None, None)


def test_a_job_is_the_dictionary_that_the_service_sent(asked):
    job = asked(reply(200, DONE))
    assert job == RUNNING
    assert (job.id, job.state, job.ended) == ("job_1", "running", False)
    assert job.refresh() is job
    assert (job, job.ended) == (DONE, True)


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume"])
def test_what_is_asked_of_a_job_goes_to_its_address(asked, verb):
    job = asked(reply(200, {**RUNNING, "state": verb}))
    assert getattr(job, verb)().state == verb
    assert job.service.requests[-1][:2] == ("POST", f"/v1/jobs/job_1/{verb}")


@pytest.mark.parametrize("verb", ["retry", "fork"])
def test_a_repetition_is_another_job(asked, verb):
    job = asked(reply(201, {**RUNNING, "id": "job_2"}))
    assert getattr(job, verb)().id == "job_2"
    assert job.id == "job_1"


def test_a_job_that_is_changed_is_a_job(asked):
    job = asked(reply(200, {**RUNNING, "priority": 3}))
    changed = job._client.change_job(job.id, priority=3)
    assert (type(changed), changed["priority"]) == (Job, 3)
    assert job.service.requests[-1][:2] == ("PATCH", "/v1/jobs/job_1")


def test_its_result_is_the_job_that_succeeded_or_an_error(asked):
    assert asked(reply(200, DONE)).result().state == "succeeded"
    with pytest.raises(JobFailed, match="cancelled"):
        asked(reply(200, CANCELLED)).result()


def test_watching_draws_and_returns_the_job(asked, capsys):
    job = asked(reply(200, {**RUNNING, "progress": {"step": 1, "total_steps": 2, "percent": 50.0}}), reply(200, DONE))
    assert job.watch().state == "succeeded"
    assert "step 1/2" in capsys.readouterr().err


SERIES = {
    "train/loss": {"steps": [1, 2, 3], "values": [0.5, None, 0.25], "non_finite": [{"step": 2, "value": "-infinity"}]},
    "validation/accuracy": {"steps": [3], "values": [0.75], "non_finite": []},
}


def test_metrics_are_records_by_step(asked):
    metrics = asked(reply(200, {"series": SERIES})).metrics(names=["train/loss", "validation/accuracy"])
    assert isinstance(metrics, Metrics)
    assert metrics.records() == [
        {"step": 1, "train/loss": 0.5},
        {"step": 2, "train/loss": -math.inf},
        {"step": 3, "train/loss": 0.25, "validation/accuracy": 0.75},
    ]


def test_metrics_are_data_frames():
    metrics = Metrics({"series": SERIES})
    pandas = metrics.to_pandas()
    assert pandas.loc[3].to_dict() == {"train/loss": 0.25, "validation/accuracy": 0.75}
    assert pandas["validation/accuracy"].isna().tolist() == [True, True, False]
    polars = metrics.to_polars()
    assert polars.columns == ["step", "train/loss", "validation/accuracy"]
    assert polars["train/loss"].to_list() == [0.5, -math.inf, 0.25]
    assert Metrics({"series": {}}).to_pandas().empty
