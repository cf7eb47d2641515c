"""Jobs to disturb, and what must be true of their histories afterwards."""

from __future__ import annotations

from typing import Any

from services.db.models import JobEvent
from services.jobs import repository
from tests.stack import Stack, digits_job, until


def long_job(**changes: Any) -> dict[str, Any]:
    """Some seconds of training, with dropout, so that random numbers must be restored too."""
    return digits_job(120, checkpoints={"every": {"epochs": 5}, "keep": 3}, **changes)


def events(stack: Stack, job_id: str, kind: str | None = None) -> list[JobEvent]:
    """Return a job's events in the order of their commits, those of one kind or all."""
    with stack.database.read_session() as session:
        found = repository.events(session, job_id=job_id)
    return [event for event in found if kind is None or event.type == kind]


def told(stack: Stack, job_id: str) -> str:
    """Return what is known of a job, for the message of a test that waited in vain."""
    lines = [f"{event.created_at} {event.type} {event.data}" for event in events(stack, job_id)] if job_id else []
    return "\n".join([*lines, stack.logs()])


def wait_for_checkpoint(stack: Stack, job_id: str, after_step: int = 0) -> int:
    """Wait until a checkpoint of a later step is listed, and return its step."""
    until(lambda: stack.stored_step(job_id) > after_step, seconds=150, what=lambda: told(stack, job_id))
    return stack.stored_step(job_id)


def assert_continuous(stack: Stack, job_id: str) -> None:
    """Assert one loss for every step, one end, and no write of an attempt after a later one's claim."""
    job = stack.job(job_id)
    series = stack.client.get(f"/v1/jobs/{job_id}/metrics?names=train/loss").json()["series"]["train/loss"]
    assert series["count"] == job["progress"]["total_steps"]
    attempt, ends = 0, 0
    for event in events(stack, job_id):
        told = event.data.get("attempt", attempt)
        assert told >= attempt, f"{event.type} of attempt {told} was written in attempt {attempt}"
        attempt = told
        ends += event.type == "job.state_changed" and event.data["state"] in ("succeeded", "failed", "cancelled")
    assert ends == 1
    started = [event.data["attempt"] for event in events(stack, job_id, "job.started")]
    assert started == sorted(set(started))
