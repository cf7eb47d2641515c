"""Row 17 of the fault table: the clocks of the API and of two workers are an hour wrong, not all in one direction."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.faults.jobs import assert_continuous, long_job, wait_for_checkpoint
from tests.stack import Stack, digits_job

pytestmark = pytest.mark.timeout(400)  # a busy machine takes a minute to import torch in each worker


HOUR = 3600


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What shifts the clock of a process that preloads it."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no LD_PRELOAD")
    built = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, Path(__file__).with_name("clock.c")], check=True)
    return str(built)


@pytest.fixture(scope="module")
def stack(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(environment_of_module, Path(tmp_path_factory.mktemp("logs")))
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.chaos
def test_wrong_clocks_have_no_effect(stack: Stack, library: str) -> None:
    """A first attempt on the worker that is ahead, a second on one that is behind; then dates and order are right."""
    ahead = {"LD_PRELOAD": library, "CLOCK_SHIFT_SECONDS": str(HOUR)}
    behind = {"LD_PRELOAD": library, "CLOCK_SHIFT_SECONDS": str(-HOUR)}
    first = stack.start_worker(**ahead)
    stack.start_api(**ahead)
    job_id = stack.submit(long_job())
    wait_for_checkpoint(stack, job_id)
    first.send_signal(signal.SIGTERM)
    first.wait(60)
    stack.start_worker(**behind)
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert_continuous(stack, job_id)
    listed = stack.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
    steps = [checkpoint["step"] for checkpoint in listed]
    assert steps == sorted(steps, reverse=True)
    assert listed[0]["final"]
    later = stack.submit(digits_job(1))
    job = stack.wait(later)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    for name in ("created_at", "started_at", "finished_at"):
        assert abs((datetime.fromisoformat(job[name]) - datetime.now(UTC)).total_seconds()) < HOUR / 2, name
    assert _is_shifted(stack)


def _is_shifted(stack: Stack) -> bool:
    """Whether the API's log is dated an hour ahead: the clocks really were wrong."""
    line = next(line for line in stack.logs().splitlines() if line.startswith('{"at": ') and "api.access" in line)
    said = datetime.fromisoformat(line.split('"')[3])
    return (said - datetime.now(UTC)).total_seconds() > HOUR / 2
