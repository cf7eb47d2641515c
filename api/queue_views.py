"""The shapes of answers about the queue, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.views import ListView, QueuePlaceView, Time, View


class QueuedJobView(QueuePlaceView):
    """A job that waits."""

    id: str = Field(examples=["job_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["queued_job"]
    name: str | None
    priority: int
    device: str = Field(description="What a worker must have: `auto`, `cpu`, `cuda`, `cuda:4` for four GPUs.")
    labels: dict[str, str]
    created_at: str = Time
    start_after: str | None = Time


class ServiceTotals(View):
    """Of all tenants together."""

    queued: int
    running: int
    slots: int = Field(description="Of live workers that take jobs.")


class QueueTotals(View):
    """How much waits and runs; the queue as this process last read it."""

    queued: int = Field(description="Yours that a worker could take now.")
    scheduled: int = Field(description="Yours whose start time lies ahead.")
    running: int = Field(description="Yours that have a slot.")
    max_running_jobs: int | None = Field(description="How many of yours may run at a time.")
    max_queued_jobs: int = Field(description="How many of yours may be unfinished at a time.")
    service: ServiceTotals
    as_of: str = Time


class QueueView(ListView):
    """Your queued jobs, the next one first."""

    data: list[QueuedJobView]
    totals: QueueTotals
