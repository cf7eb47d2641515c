"""What happened to a job, as it is published: events, and the lines of its log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import ListView, Time, View


class EventView(View):
    """Something that happened to a job."""

    id: str = Field(examples=["evt_01m83xeszjt60983ses6fh2mav"])
    object: Literal["event"]
    type: str = Field(examples=["job.state_changed", "job.checkpoint", "job.attempt_failed"])
    job_id: str
    created_at: str = Time
    data: dict[str, Any] = Field(examples=[{"state": "running", "reason": None, "attempt": 1}])


class EventList(ListView):
    """A page of events, oldest first."""

    data: list[EventView]


class LogLineView(View):
    """A line of a job's log."""

    id: str = Field(examples=["1.17"])
    object: Literal["log_line"]
    attempt: int = Field(examples=[1])
    level: Literal["info", "warning", "error"]
    message: str = Field(examples=["Step 69/920, epoch 3/40: train/loss 0.5211, validation/accuracy 0.8715."])
    created_at: str = Time


class LogLineList(ListView):
    """A page of log lines, oldest first."""

    data: list[LogLineView]
