"""A job in two processes, end to end: a worker takes it, and the death of either process costs no bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import Stack, digits_job, family, kill, until

TWO = {"device": "cpu", "processes": 2}


@pytest.fixture
def stack(module_environment: dict[str, str], tmp_path: Path) -> Iterator[Stack]:
    made = Stack({**module_environment, "MODELWRIGHT_PROCESSES": "2"}, tmp_path / "logs")
    try:
        made.start_api()
        made.start_worker()
        yield made
    finally:
        made.stop()


def test_a_killed_process_of_two_is_retried_to_the_same_final_bits(stack: Stack) -> None:
    request = digits_job(20, checkpoints={"every": {"epochs": 1}}, resources=TWO)
    undisturbed = stack.submit(request)
    assert stack.wait(undisturbed)["state"] == "succeeded"
    job_id = stack.submit(request)
    leader = stack.trainer_pid(job_id)
    until(lambda: stack.stored_step(job_id) > 0, seconds=30, what=stack.logs)
    (other,) = (process.pid for process in family(leader) if process.pid != leader)
    kill(other)
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert stack.final_sha256(job_id) == stack.final_sha256(undisturbed)
    assert job["resolved"]["resources"] == {"device": "cpu", "gpus": None, "processes": 2}
