"""Random kills over all processes of the workers: every acknowledged job ends once, with the undisturbed bits."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from services.jobs import repository
from tests.stack import Stack, digits_job, family

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

SEED = int(os.environ.get("CHAOS_SEED", "7"))
JOBS = 10
KILLS = 25
SECONDS_BETWEEN = (0.5, 2.5)


@pytest.fixture
def stack(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Stack]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "MODELWRIGHT_DATA_DIR": str(tmp_path / "data"),
        "MODELWRIGHT_DEVICES": "cpu",
        "MODELWRIGHT_LEASE_SECONDS": "5",
        "MODELWRIGHT_RENEW_SECONDS": "1",
    }
    made = Stack(environment, tmp_path / "logs")
    try:
        made.start_api()
        made.start_scheduler()
        yield made
    finally:
        made.stop()


def test_no_job_is_lost_or_doubled_and_all_end_in_the_same_bits(stack: Stack) -> None:
    chance = random.Random(SEED)
    worker = stack.start_worker(slots=2)
    request = digits_job(150, checkpoints={"every": {"epochs": 5}, "keep": 2})
    calm = stack.submit(request)
    stack.wait(calm, seconds=180)
    jobs = [stack.submit(request) for _ in range(JOBS)]
    kills = 0
    while kills < KILLS and not all(stack.job(job_id)["terminal"] for job_id in jobs):
        time.sleep(chance.uniform(*SECONDS_BETWEEN))
        if worker.poll() is not None:
            worker = stack.start_worker(slots=2)
            time.sleep(3)
        victims = family(worker.pid)
        if victims:
            with suppress(psutil.NoSuchProcess):
                chance.choice(victims).kill()
                kills += 1
    if worker.poll() is not None:
        stack.start_worker(slots=2)
    ended = [stack.wait(job_id, seconds=600) for job_id in jobs]
    # A job whose trainers died five times has ended as the rules say; it was neither lost nor silent.
    gave_up = [job for job in ended if job["state"] == "failed"]
    assert all(job["error"]["code"] == "worker_crashed_repeatedly" for job in gave_up), gave_up
    succeeded = [job["id"] for job in ended if job["state"] == "succeeded"]
    assert len(succeeded) + len(gave_up) == JOBS
    assert len(succeeded) >= JOBS // 2
    assert {stack.final_sha256(job_id) for job_id in succeeded} == {stack.final_sha256(calm)}
    _check_histories(stack, jobs)


def _check_histories(stack: Stack, jobs: list[str]) -> None:
    """Each job ended exactly once, its attempts grow, and its loss series has neither gap nor double."""
    for job_id in jobs:
        with stack.database.read_session() as session:
            events = repository.events(session, job_id=job_id)
        states = [event.data["state"] for event in events if event.type == "job.state_changed"]
        assert sum(state in ("succeeded", "failed", "cancelled") for state in states) == 1
        attempts = [event.data["attempt"] for event in events if event.type == "job.started"]
        assert attempts == sorted(attempts)
        job = stack.job(job_id)
        if job["state"] == "succeeded":
            series = stack.client.get(f"/v1/jobs/{job_id}/metrics?names=train/loss").json()["series"]["train/loss"]
            assert series["count"] == job["progress"]["total_steps"]
