"""Every failpoint of the source × {the process dies there, it freezes and wakes when it was replaced}."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from services import failpoints
from tests.faults.jobs import assert_continuous, events, told, wait_for_checkpoint
from tests.faults.processes import frozen, is_stopped
from tests.stack import ROOT, Stack, digits_job, family, until

pytestmark = pytest.mark.timeout(400)  # a busy machine takes a minute to import torch in each worker

PACKAGES = ("api", "services", "worker")


@cache
def points() -> list[str]:
    """Return the names of all failpoints, from the source."""
    found = []
    for file in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "hit(" in text else ():
            if isinstance(node, ast.Call) and _name(node.func) in ("hit", "failpoints.hit"):
                found.append(ast.literal_eval(node.args[0]))
    return found


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def cases() -> list[Any]:
    return [pytest.param(name, action, id=f"{name}-{action}") for name in points() for action in failpoints.ACTIONS]


@pytest.fixture(scope="module")
def stack(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and a worker that nothing happens to: they take over."""
    made = Stack(environment_of_module, Path(tmp_path_factory.mktemp("logs")))
    try:
        made.start_worker()
        made.start_api()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> str:
    """The checksum of the final weights when no point is armed."""
    job_id = stack.submit(request())
    assert stack.wait(job_id, seconds=150)["state"] == "succeeded"
    return stack.final_sha256(job_id)


def request(**changes: Any) -> dict[str, Any]:
    return digits_job(40, checkpoints={"every": {"epochs": 8}, "keep": 2}, **changes)


def test_every_point_has_a_name_of_its_own() -> None:
    assert len(set(points())) == len(points())
    assert SCENARIOS.keys() <= set(points())


def test_a_point_that_is_not_armed_does_nothing_and_an_unknown_action_is_refused() -> None:
    failpoints.arm("")
    for name in points():
        failpoints.hit(name)
    with pytest.raises(ValueError, match="kill, stop"):
        failpoints.arm("after_claim:explode")


@pytest.mark.chaos
@pytest.mark.parametrize(("name", "action"), cases())
def test_the_job_succeeds_once_with_the_undisturbed_bits(
    stack: Stack, undisturbed: str, name: str, action: str
) -> None:
    label = uuid.uuid4().hex
    job_id = SCENARIOS.get(name, train)(stack, f"{name}:{action}", label)
    job = stack.wait(job_id)
    assert job["state"] == "succeeded", told(stack, job_id)
    assert stack.final_sha256(job_id) == undisturbed
    assert_continuous(stack, job_id)
    listed = stack.client.get("/v1/jobs?limit=100").json()["data"]
    assert [one["id"] for one in listed if one["name"] == label] == [job_id]


def train(stack: Stack, failpoint: str, label: str) -> str:
    """The armed worker gets a new job."""
    with frozen(stack.processes[:1]):
        armed = stack.start_worker(FAILPOINT=failpoint)
        job_id = stack.submit(request(name=label))
        fallen = wait_for_fall(stack, armed, job_id)
    wake_once_replaced(stack, job_id, fallen)
    dismiss(armed)
    return job_id


def resume(stack: Stack, failpoint: str, label: str) -> str:
    """The armed worker gets a job that has a checkpoint."""
    job_id = stack.submit(request(name=label))
    wait_for_checkpoint(stack, job_id)
    stack.client.post(f"/v1/jobs/{job_id}/pause")
    stack.wait(job_id, state="paused")
    with frozen(stack.processes[:1]):
        armed = stack.start_worker(FAILPOINT=failpoint)
        stack.client.post(f"/v1/jobs/{job_id}/resume")
        fallen = wait_for_fall(stack, armed, job_id)
    wake_once_replaced(stack, job_id, fallen)
    dismiss(armed)
    return job_id


def sweep(stack: Stack, failpoint: str, label: str) -> str:
    """The armed worker finds the lease of a frozen one run out."""
    job_id = stack.submit(request(name=label))
    wait_for_checkpoint(stack, job_id)
    with frozen(stack.processes[:1]):
        armed = stack.start_worker(FAILPOINT=failpoint)
        fallen = wait_for_fall(stack, armed, job_id)
    wake_once_replaced(stack, job_id, fallen)
    dismiss(armed)
    return job_id


def post(stack: Stack, failpoint: str, label: str) -> str:
    """The armed API gets a request, which is repeated with its key at the other one."""
    body, headers = request(name=label), {"Idempotency-Key": label}
    other = stack.client
    armed = stack.start_api(FAILPOINT=failpoint)
    doomed, stack.client = stack.client, other
    with pytest.raises(httpx.TransportError):
        doomed.post("/v1/jobs", json=body, headers=headers, timeout=10)
    fallen = wait_for_fall(stack, armed, "")
    first = other.post("/v1/jobs", json=body, headers=headers)
    assert first.status_code in (201, 409), first.text  # 409: the frozen one still holds the key
    for pid in fallen:
        os.kill(pid, signal.SIGCONT)
    answers = [first]

    def answered() -> bool:
        answers.append(other.post("/v1/jobs", json=body, headers=headers))
        return answers[-1].status_code == 201

    until(answered, seconds=60, what=stack.logs)
    dismiss(armed)
    return str(answers[-1].json()["id"])


SCENARIOS: dict[str, Callable[[Stack, str, str], str]] = {
    "in_submit": post,
    "before_ring": post,
    "in_rewind": resume,
    "in_sweep": sweep,
    "after_sweep": sweep,
}
"""How a point is reached where a new job on an armed worker does not come by. A new one of that kind fails its test."""


def wait_for_fall(stack: Stack, armed: subprocess.Popen[bytes], job_id: str) -> list[int]:
    """Wait until the armed process, or its trainer, has died or frozen; return the frozen ones."""
    frozen_ones: list[int] = []

    def fell() -> bool:
        frozen_ones[:] = [member.pid for member in family(armed.pid) if is_stopped(member.pid)]
        lost = events(stack, job_id, "job.attempt_failed") if job_id else []
        dead = any(event.data["error"]["code"] == "trainer_died" for event in lost)
        return armed.poll() is not None or bool(frozen_ones) or dead

    until(fell, seconds=150, what=lambda: f"not reached; does SCENARIOS say how it is?\n{told(stack, job_id)}")
    return frozen_ones


def wake_once_replaced(stack: Stack, job_id: str, zombies: list[int]) -> None:
    """Let frozen processes go on once another attempt has begun, or the job has ended without them."""
    if not zombies:
        return
    attempt = stack.job(job_id)["attempt"]
    until(
        lambda: stack.job(job_id)["terminal"] or stack.job(job_id)["attempt"] > attempt,
        seconds=150,
        what=lambda: told(stack, job_id),
    )
    for pid in zombies:
        with suppress(ProcessLookupError):  # a trainer that froze was killed by its owner
            os.kill(pid, signal.SIGCONT)


def dismiss(process: subprocess.Popen[bytes]) -> None:
    """End an armed process, if it still runs, in good order."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
