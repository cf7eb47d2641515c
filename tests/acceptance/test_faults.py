"""Processes die; acknowledged jobs do not."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelwright.server.valkey import ValkeyServer
from tests.stack import Stack, alive, digits_job, family, kill, until
from worker.supervisor import TRAINER_NICENESS


@pytest.fixture
def stack(module_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    """A service of this test's own; the test starts its workers."""
    made = Stack({**module_environment, "MODELWRIGHT_DATA_DIR": str(tmp_path / "data")}, tmp_path / "logs")
    try:
        made.start_api()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def undisturbed(module_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checksum of the final weights of ``long_job`` when nothing goes wrong."""
    made = Stack(module_environment, Path(tmp_path_factory.mktemp("undisturbed")))
    try:
        made.start_worker()
        made.start_api()
        job_id = made.submit(long_job())
        assert made.wait(job_id)["state"] == "succeeded"
        return made.final_sha256(job_id)
    finally:
        made.stop()


def long_job() -> dict:
    """Some seconds of training, with dropout, so that random numbers must be restored too."""
    return digits_job(250, checkpoints={"every": {"epochs": 10}, "keep": 2})


def test_a_killed_trainer_is_retried_from_its_checkpoint_to_the_same_final_bits(stack: Stack, undisturbed: str) -> None:
    stack.start_worker()
    job_id = stack.submit(long_job())
    pid = stack.trainer_pid(job_id)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == own + TRAINER_NICENESS, seconds=30, what=stack.logs)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    kill(pid)
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert stack.final_sha256(job_id) == undisturbed
    series = stack.client.get(f"/v1/jobs/{job_id}/metrics?names=train/loss").json()["series"]["train/loss"]
    assert series["count"] == job["progress"]["total_steps"]


def test_a_trainer_that_always_dies_ends_the_job_with_a_class_and_a_hint(stack: Stack) -> None:
    stack.start_worker()
    job_id = stack.submit(digits_job(100_000, checkpoints={"every": {"epochs": 99_999}}))
    for attempt in (1, 2):
        kill(stack.trainer_pid(job_id, attempt))
    job = stack.wait(job_id)
    assert job["state"] == "failed"
    assert job["error"]["code"] == "worker_crashed_repeatedly"
    assert job["error"]["class"] == "infrastructure"
    assert job["error"]["hint"]


def test_a_killed_supervisor_takes_its_trainer_along_and_the_job_goes_on(stack: Stack, undisturbed: str) -> None:
    stack.start_worker()
    stack.start_scheduler()
    job_id = stack.submit(long_job())
    pid = stack.trainer_pid(job_id)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    kill(stack.owner_pid(job_id))
    until(lambda: not alive(pid), seconds=2)
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert stack.final_sha256(job_id) == undisturbed


def test_a_killed_worker_leaves_no_orphan_and_another_worker_finishes_its_job(stack: Stack, undisturbed: str) -> None:
    first = stack.start_worker()
    stack.start_scheduler()
    job_id = stack.submit(long_job())
    pid = stack.trainer_pid(job_id)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    members = family(first.pid)
    for member in members:
        if member.pid != pid and "forkserver" not in " ".join(member.cmdline()):
            member.kill()
    until(lambda: not alive(pid), seconds=2)
    until(lambda: not any(alive(member.pid) for member in members if member.pid != first.pid), seconds=5)
    stack.start_worker()
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 2)
    assert stack.final_sha256(job_id) == undisturbed


def test_a_worker_told_to_stop_checkpoints_and_another_goes_on_without_losing_a_step(
    stack: Stack, undisturbed: str
) -> None:
    first = stack.start_worker()
    job_id = stack.submit(long_job())
    stack.trainer_pid(job_id)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    job = stack.job(job_id)
    assert (job["state"], job["reason"]) == ("queued", "worker_draining"), stack.logs()
    assert stack.stored_step(job_id) == job["progress"]["step"]
    stack.start_worker()
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert stack.final_sha256(job_id) == undisturbed


def test_a_job_that_rested_ends_with_the_bits_of_one_that_did_not(stack: Stack, undisturbed: str) -> None:
    stack.start_worker()
    job_id = stack.submit(long_job())
    stack.trainer_pid(job_id)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    assert stack.client.post(f"/v1/jobs/{job_id}/pause").json()["state"] == "pausing"
    until(lambda: stack.job(job_id)["state"] == "paused", seconds=30, what=stack.logs)
    job = stack.job(job_id)
    assert stack.stored_step(job_id) == job["progress"]["step"]
    other = stack.submit(digits_job(1))  # the worker is free meanwhile, and leaves the paused job alone
    assert stack.wait(other)["state"] == "succeeded"
    assert stack.job(job_id)["state"] == "paused"
    assert stack.client.post(f"/v1/jobs/{job_id}/resume").json()["state"] == "queued"
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert stack.final_sha256(job_id) == undisturbed


def test_without_redis_a_submit_still_succeeds_and_the_job_starts_within_15_s(
    module_environment: dict[str, str], tmp_path: Path
) -> None:
    valkey = ValkeyServer(tmp_path / "valkey")
    valkey.start()
    made = Stack({**module_environment, "REDIS_URL": valkey.url}, tmp_path / "logs")
    try:
        made.start_worker()
        made.start_api()
        warm = made.submit(digits_job(1))
        assert made.wait(warm)["state"] == "succeeded"
        valkey.kill()
        begun = time.monotonic()
        job_id = made.submit(digits_job(1))
        assert time.monotonic() - begun < 5
        made.wait(job_id, seconds=15)
        assert made.job(job_id)["state"] == "succeeded"
        assert made.client.get("/readyz").json()["status"] == "degraded"
    finally:
        made.stop()
        valkey.stop()


def test_a_model_that_grows_without_end_fails_as_out_of_memory_and_the_worker_goes_on(stack: Stack) -> None:
    stack.start_worker(MODELWRIGHT_TRAINER_MEMORY_BYTES=str(1 << 30))
    forward = [
        "y = x",
        # Only real pixels reach 1: the preflight's random batch does not meet this branch.
        {"if": "x.max() >= 1.0", "then": [{"while": "x.sum() > -1.0", "at_most": 40, "do": ["y = torch.cat([y, y])"]}]},
        "return self.linear(x) + 0 * y.mean()",
    ]
    model = {"modules": {"Grow": {"init": [{"linear": "Linear(64, 10)"}], "forward": forward}}, "model": "Grow()"}
    job = stack.wait(stack.submit(digits_job(1, model=model)))
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert (job["error"]["code"], job["error"]["class"]) == ("out_of_memory", "resource")
    assert job["error"]["hint"]
    assert stack.wait(stack.submit(digits_job(1)))["state"] == "succeeded"
