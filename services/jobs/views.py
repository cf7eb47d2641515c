"""The public form of a job."""

from __future__ import annotations

from typing import Any

from services.db.models import TERMINAL_STATES, Job
from services.pages import timestamp


def job_view(job: Job) -> dict[str, Any]:
    """Return what ``GET /v1/jobs/{id}`` answers."""
    return {
        "id": job.id,
        "object": "job",
        "name": job.name,
        "state": job.state,
        "terminal": job.state in TERMINAL_STATES,
        "phase": job.phase,
        "reason": job.reason,
        "attempt": job.attempt,
        "priority": job.priority,
        "device": job.device,
        "labels": job.labels,
        "progress": job.progress,
        "transitions": job.transitions,
        "error": job.error,
        "resume": job.resume,
        "execution": job.execution,
        "cancel_requested_at": timestamp(job.cancel_requested_at),
        "start_after": timestamp(job.start_after),
        "created_at": timestamp(job.created_at),
        "started_at": timestamp(job.started_at),
        "finished_at": timestamp(job.finished_at),
        "updated_at": timestamp(job.updated_at),
        "model": {"sha256": job.definition_sha256, **job.preflight.get("parameters", {})},
        "preflight": job.preflight,
        "origin": job.origin,
        "webhook": job.webhook_id and {"id": job.webhook_id, "events": job.webhook_events},
        "estimate": _estimate(job),
        "request": job.request,
        "resolved": job.resolved,
        "version": job.version,
        "links": _links(job.id),
    }


def _estimate(job: Job) -> dict[str, Any] | None:
    """Return what the job was thought to take, beside what it took if it ran through at once."""
    if job.estimate is None:
        return None
    ran = job.started_at is not None and job.finished_at is not None and job.attempt == 1
    through = ran and job.state == "succeeded" and job.reason is None
    took = round((job.finished_at - job.started_at).total_seconds(), 3) if through else None  # type: ignore[operator]
    return {**job.estimate, "actual_seconds": took}


def _links(job_id: str) -> dict[str, str]:
    base = f"/v1/jobs/{job_id}"
    return {
        "self": base,
        "events": f"{base}/events",
        "metrics": f"{base}/metrics",
        "checkpoints": f"{base}/checkpoints",
        "cancel": f"{base}/cancel",
        "pause": f"{base}/pause",
        "resume": f"{base}/resume",
        "retry": f"{base}/retry",
        "fork": f"{base}/fork",
    }
