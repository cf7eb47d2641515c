"""Rows 5, 6, 13, 15, 16, 18, 20 of the fault table: what happens to workers and trainers, over one service."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import text

from services.jobs.claims import FORMAT
from services.queue import Doorbell
from tests.faults.jobs import assert_continuous, events, long_job, told, wait_for_checkpoint
from tests.stack import Stack, digits_job, until

# Minutes of real processes: in the long lane.
pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(400),
]  # a busy machine takes a minute to import torch in each worker


def test_a_supervisor_that_froze_and_woke_writes_nothing_more(service: Stack, undisturbed: str) -> None:
    """Rows 5 and 18: two workers sweep, the lease is swept once, and the zombie is fenced."""
    job_id = service.submit(long_job())
    wait_for_checkpoint(service, job_id)
    zombie, trainer = service.owner_pid(job_id), service.trainer_pid(job_id)
    os.kill(zombie, signal.SIGSTOP)
    try:
        until(lambda: service.job(job_id)["attempt"] == 2, seconds=150, what=lambda: told(service, job_id))
    finally:
        os.kill(zombie, signal.SIGCONT)
    job = service.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert service.final_sha256(job_id) == undisturbed
    until(lambda: not _exists(trainer), seconds=60, what=service.logs)  # the zombie ended its trainer once it woke
    assert_continuous(service, job_id)
    assert len(events(service, job_id, "job.lease_expired")) == 1


def test_a_message_that_comes_ten_times_runs_the_job_once(service: Stack) -> None:
    doorbell = Doorbell(service.environment["REDIS_URL"])
    job_id = service.submit(digits_job(20))
    assert all(doorbell.ring(job_id, "cpu") for _ in range(10))
    doorbell.close()
    job = service.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert_continuous(service, job_id)


def test_a_job_whose_message_was_lost_starts_all_the_same(service: Stack, tmp_path: Any) -> None:
    """An API that rings nobody: its Redis does not exist."""
    lonely = Stack({**service.environment, "REDIS_URL": "redis://127.0.0.1:9/0"}, tmp_path / "logs")
    try:
        lonely.start_api()
        job_id = lonely.submit(digits_job(1))
        assert lonely.wait(job_id)["state"] == "succeeded"
        assert lonely.job(job_id)["attempt"] == 1
    finally:
        lonely.stop()


@pytest.mark.parametrize("damage", ["bit", "row"])
def test_a_damaged_checkpoint_is_passed_over_and_stored_again(service: Stack, undisturbed: str, damage: str) -> None:
    """Row 13: the resume falls back by one and says so; the bytes that are made again heal what was damaged."""
    job_id = service.submit(long_job(labels={"damage": damage}))
    wait_for_checkpoint(service, job_id, wait_for_checkpoint(service, job_id))  # at least two
    service.client.post(f"/v1/jobs/{job_id}/pause")
    service.wait(job_id, state="paused")
    listed = service.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
    _damage_newest(service, job_id, damage)
    service.client.post(f"/v1/jobs/{job_id}/resume")
    job = service.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert service.final_sha256(job_id) == undisturbed
    (told,) = events(service, job_id, "job.checkpoint_corrupt")
    assert told.data["checkpoint_id"] == listed[0]["id"]
    resumed = events(service, job_id, "job.started")[-1]
    assert resumed.data["attempt"] == 2
    for checkpoint in service.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]:
        content = service.client.get(checkpoint["links"]["content"])
        assert len(content.content) == checkpoint["size_bytes"]
    assert_continuous(service, job_id)


def test_a_loss_that_is_nan_fails_at_its_step_and_the_checkpoints_before_stay(service: Stack) -> None:
    """Row 15: the very step that the same run names when it is told to go on."""
    deep = "Sequential(Linear(64, 32), Linear(32, 32), Linear(32, 10))"
    explosive = digits_job(40, model=deep, checkpoints={"every": {"steps": 1}, "keep": 3})
    explosive["training"] = {**explosive["training"], "optimizer": {"type": "SGD", "lr": 1e6}, "metrics": []}
    patient = {**explosive, "training": {**explosive["training"], "on_non_finite": "continue", "epochs": 1}}
    seen = service.submit({**patient, "checkpoints": {"every": {"epochs": 1}}})
    failed = service.submit(explosive)
    assert service.wait(seen)["terminal"]
    series = service.client.get(f"/v1/jobs/{seen}/metrics?names=train/loss").json()["series"]["train/loss"]
    points = zip(series["steps"], series["values"], strict=True)
    first = next(step for step, value in points if value is None or not math.isfinite(value))
    job = service.wait(failed)
    assert (job["state"], job["attempt"], job["error"]["code"]) == ("failed", 1, "non_finite_loss")
    assert job["error"]["message"].endswith(f"at step {first}.")
    kept = service.client.get(f"/v1/jobs/{failed}/checkpoints").json()["data"]
    assert kept
    assert all(0 < checkpoint["step"] < first for checkpoint in kept)


def test_a_trainer_that_hangs_is_killed_and_retried_to_the_same_bits(service: Stack, undisturbed: str) -> None:
    job_id = service.submit(long_job())
    wait_for_checkpoint(service, job_id)
    trainer = service.trainer_pid(job_id)
    os.kill(trainer, signal.SIGSTOP)
    job = service.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    (lost,) = events(service, job_id, "job.attempt_failed")
    assert lost.data["error"]["code"] == "stalled"
    (said,) = service.client.get(f"/v1/jobs/{job_id}/logs?level=error").json()["data"]
    assert "(stalled)" in said["message"]
    assert not _exists(trainer)
    assert service.final_sha256(job_id) == undisturbed
    assert_continuous(service, job_id)


@pytest.mark.chaos
def test_a_forward_that_does_not_come_back_ends_its_job_as_stalled(service: Stack) -> None:
    """Row 16 with a model that hangs in C each time: half an hour of products of zeros."""
    forward = [
        # Only real pixels reach 1: the preflight's random batch does not meet this branch.
        {
            "if": "x.max() >= 1.0",
            "then": [
                "y = torch.zeros(4000, 4000)",
                {"while": "y.sum() < 1.0", "at_most": 1000, "do": ["y = y @ y"]},
            ],
        },
        "return self.linear(x)",
    ]
    model = {"modules": {"Slow": {"init": [{"linear": "Linear(64, 10)"}], "forward": forward}}, "model": "Slow()"}
    job = service.wait(service.submit(digits_job(1, model=model)), seconds=150)
    assert (job["state"], job["attempt"]) == ("failed", 2)
    assert (job["error"]["code"], job["error"]["class"]) == ("stalled", "infrastructure")
    assert job["error"]["hint"]
    assert service.wait(service.submit(digits_job(1)))["state"] == "succeeded"


def test_a_worker_passes_over_what_a_newer_version_queued_and_goes_on_with_the_rest(service: Stack) -> None:
    """Row 20: a job of a form that it does not know, and a message for a task that it does not have."""
    strange = service.submit(long_job(priority=100))
    service.client.post(f"/v1/jobs/{strange}/pause")
    service.wait(strange, state="paused")
    _say_format(service, strange, FORMAT + 1)
    service.client.post(f"/v1/jobs/{strange}/resume")
    broker = Celery("newer", broker=service.environment["REDIS_URL"], set_as_current=False)
    broker.send_task("worker.task_of_a_newer_version", args=[{"unknown": 1}], queue="jobs.auto", retry=False)
    broker.close()
    other = service.submit(digits_job(1))
    assert service.wait(other)["state"] == "succeeded"
    assert service.job(strange)["state"] == "queued"
    _say_format(service, strange, FORMAT)  # as an upgraded worker sees it
    assert service.wait(strange)["state"] == "succeeded"


def _say_format(stack: Stack, job_id: str, number: int) -> None:
    with stack.database.session() as session:
        session.execute(text("UPDATE job SET format = :number WHERE id = :id"), {"number": number, "id": job_id})


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _damage_newest(stack: Stack, job_id: str, damage: str) -> None:
    """Change a bit of a chunk that the newest checkpoint alone refers to, or take its row away."""
    only = """
        SELECT c.tenant_id, c.chunk_sha256 FROM checkpoint_chunk c JOIN checkpoint k ON k.id = c.checkpoint_id
        WHERE k.job_id = :job AND k.step = (SELECT max(step) FROM checkpoint WHERE job_id = :job)
          AND c.file = 'weights.safetensors' AND NOT EXISTS (
            SELECT FROM checkpoint_chunk o WHERE o.chunk_sha256 = c.chunk_sha256 AND o.checkpoint_id <> c.checkpoint_id)
        ORDER BY c.position DESC LIMIT 1
    """
    with stack.database.session() as session:
        tenant, sha256 = session.execute(text(only), {"job": job_id}).one()
        session.execute(text("SET LOCAL session_replication_role = replica"))  # past the foreign key
        what = {
            "bit": "UPDATE chunk SET data = set_bit(data, 9, 1 - get_bit(data, 9))",
            "row": "DELETE FROM chunk",
        }[damage]
        changed = session.execute(
            text(f"{what} WHERE tenant_id = :tenant AND sha256 = :sha256 RETURNING 1"),
            {"tenant": tenant, "sha256": bytes(sha256)},
        )
        assert len(changed.all()) == 1
