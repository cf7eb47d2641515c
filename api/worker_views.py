"""The shapes of answers about workers, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.views import ListView, Time, View


class DeviceView(View):
    """What a worker trains on."""

    type: Literal["cpu", "cuda"]
    name: str | None = Field(examples=["NVIDIA H100 80GB HBM3"])
    count: int = Field(description="GPUs, or processors, that one job may have.")


class BusySlotView(View):
    """A slot at work."""

    job_id: str | None = Field(description="Null for a job of somebody else.")


class WorkerView(View):
    """A process that trains jobs, with room for several at a time."""

    id: str = Field(examples=["wrk_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["worker"]
    state: Literal["idle", "busy", "draining", "lost"]
    slots: int = Field(description="Jobs that it can run at a time.")
    busy: int = Field(description="Slots at work.")
    draining: bool = Field(description="It was told to stop, and takes no more jobs.")
    devices: list[str] = Field(description="What it can run: `cpu`, `cuda`, `cuda:4` for a job with four GPUs …")
    device: DeviceView
    versions: dict[str, str] = Field(examples=[{"modelwright": "0.1.0", "python": "3.12.3", "torch": "2.13.0"}])
    running: list[BusySlotView]
    started_at: str = Time
    last_seen_at: str = Time


class WorkerList(ListView):
    """A page of workers."""

    data: list[WorkerView]
