"""A sweep over real processes: its driver is killed on the way, its trials are trained by a worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack, digits_job, kill, until

SWEEP: dict[str, Any] = {
    "name": "rates",
    "base": digits_job(9),
    "space": {
        "/training/optimizer/lr": {"log_uniform": [0.00001, 0.1]},
        "/training/optimizer/type": {"choice": ["Adam", "SGD"]},
    },
    "strategy": "tpe",
    "objective": {"metric": "validation/accuracy", "mode": "max"},
    "asha": {"min_epochs": 1, "reduction_factor": 3},
    "budget": {"trials": 4, "parallel": 2},
    "seed": 1,
}


@pytest.fixture
def fresh(module_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(module_environment, tmp_path / "logs")
    try:
        stack.start_worker(slots=1)
        stack.start_api()
        yield stack
    finally:
        stack.stop()


def test_a_sweep_outlives_its_driver_and_its_best_checkpoint_is_there(fresh: Stack) -> None:
    driver = fresh.start_scheduler()
    answer = fresh.client.post("/v1/sweeps", json=SWEEP)
    assert answer.status_code == 201, answer.text
    sweep_id = answer.json()["id"]

    def look() -> dict[str, Any]:
        return dict(fresh.client.get(f"/v1/sweeps/{sweep_id}").json())

    kills, deadline = 0, time.monotonic() + 150
    while not look()["terminal"]:
        assert time.monotonic() < deadline, f"{look()}\n{fresh.logs()}"
        if kills < 1 and look()["progress"]["ended"] > kills:
            kill(driver.pid)
            driver.wait()
            driver = fresh.start_scheduler()
            kills += 1
        time.sleep(0.1)
    assert kills == 1
    sweep = look()
    assert sweep["state"] == "succeeded", sweep
    trials = fresh.client.get(f"/v1/sweeps/{sweep_id}/trials").json()["data"]
    assert [trial["number"] for trial in trials] == list(range(4))
    assert {trial["state"] for trial in trials} <= {"succeeded", "pruned"}
    jobs = fresh.client.get(f"/v1/jobs?label.sweep={sweep_id}&limit=100").json()["data"]
    assert sorted(int(job["labels"]["trial"]) for job in jobs) == list(range(4))
    best = sweep["best"]
    assert best["objective"] == max(trial["objective"] for trial in trials)
    checkpoint = fresh.client.get(best["links"]["checkpoint"]).json()
    assert (checkpoint["job_id"], checkpoint["step"], checkpoint["best"]) == (best["job_id"], best["step"], True)
    until(lambda: fresh.client.get(best["links"]["checkpoint"] + "/content").status_code == 200, seconds=5)
