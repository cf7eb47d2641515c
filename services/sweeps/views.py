"""The public forms of sweeps and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.db.models import TERMINAL_STATES
from services.db.sweep_models import ENDED_SWEEP_STATES, Sweep, SweepTrial
from services.pages import timestamp
from services.sweeps.repository import SETTLING, JobState

TRIAL_STATES = (
    *("proposed", "queued", "starting", "running", "pausing", "paused", "cancelling", SETTLING),
    *("succeeded", "failed", "pruned", "cancelled", "invalid"),
)
_ENDED = ("succeeded", "failed", "pruned", "cancelled")


def sweep_view(
    sweep: Sweep,
    counts: Mapping[str, int],
    best: SweepTrial | None,
    checkpoint_id: str | None,
    open_trials: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what ``GET /v1/sweeps/{id}`` answers; ``checkpoint_id`` is that of the best trial."""
    resolved = sweep.resolved
    return {
        "id": sweep.id,
        "object": "sweep",
        "name": sweep.name,
        "state": sweep.state,
        "terminal": sweep.state in ENDED_SWEEP_STATES,
        "reason": sweep.reason,
        "progress": _progress(counts, resolved["budget"]["trials"]),
        "open": list(open_trials),
        "best": None if best is None else _best(best, checkpoint_id),
        "strategy": resolved["strategy"],
        "objective": resolved["objective"],
        "asha": resolved["asha"],
        "budget": resolved["budget"],
        "points": resolved["points"],
        "seed": resolved["seed"],
        "space": resolved["space"],
        "base": resolved["base"],
        "request": sweep.request,
        "cancel_requested_at": timestamp(sweep.cancel_requested_at),
        "created_at": timestamp(sweep.created_at),
        "finished_at": timestamp(sweep.finished_at),
        "links": _links(sweep.id),
    }


def open_trial_view(trial: SweepTrial, job: JobState | None, metric: str) -> dict[str, Any]:
    """Return how a trial stands that has not ended; ``latest`` is the objective's newest value."""
    progress = job.progress if job is not None else {}
    return {
        "number": trial.number,
        "state": _state(trial, job),
        "parameters": trial.parameters,
        "step": progress.get("step"),
        "total_steps": progress.get("total_steps"),
        "latest": (progress.get("latest") or {}).get(metric),
        "job_id": trial.job_id,
    }


def trial_view(trial: SweepTrial, job: JobState | None, checkpoint_id: str | None, metric: str) -> dict[str, Any]:
    """Return one row of the table of trials; ``latest`` is the objective's newest value while the trial trains."""
    now = open_trial_view(trial, job, metric)
    return {
        "id": str(trial.number),
        "object": "sweep_trial",
        "number": trial.number,
        "state": now["state"],
        "parameters": trial.parameters,
        "objective": trial.objective,
        "best_step": trial.best_step,
        "latest": now["latest"] if trial.state == "submitted" else None,
        "step": now["step"],
        "total_steps": now["total_steps"],
        "duration_seconds": _seconds(job),
        "rungs": trial.rungs,
        "problem": trial.problem,
        "job_id": trial.job_id,
        "checkpoint_id": checkpoint_id,
        "created_at": timestamp(trial.created_at),
        "started_at": timestamp(job.started_at) if job is not None else None,
        "finished_at": timestamp(trial.finished_at),
        "links": _trial_links(trial, checkpoint_id),
    }


def _state(trial: SweepTrial, job: JobState | None) -> str:
    if job is None or trial.state != "submitted":
        return trial.state
    return SETTLING if job.state in TERMINAL_STATES else job.state


def _progress(counts: Mapping[str, int], total: int) -> dict[str, Any]:
    ended = sum(counts.get(state, 0) for state in _ENDED)
    shown = {state: counts[state] for state in TRIAL_STATES if counts.get(state)}
    return {
        "trials": total,
        "ended": ended,
        "percent": round(100 * ended / total, 2) if total else 100.0,
        "counts": shown,
    }


def _best(trial: SweepTrial, checkpoint_id: str | None) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "objective": trial.objective,
        "step": trial.best_step,
        "parameters": trial.parameters,
        "job_id": trial.job_id,
        "checkpoint_id": checkpoint_id,
        "links": _trial_links(trial, checkpoint_id),
    }


def _seconds(job: JobState | None) -> float | None:
    if job is None or job.started_at is None or job.finished_at is None:
        return None
    return round((job.finished_at - job.started_at).total_seconds(), 3)


def _links(sweep_id: str) -> dict[str, str]:
    base = f"/v1/sweeps/{sweep_id}"
    return {
        "self": base,
        "trials": f"{base}/trials",
        "parallel_coordinates": f"{base}/parallel-coordinates",
        "cancel": f"{base}/cancel",
        "jobs": f"/v1/jobs?label.sweep={sweep_id}",
    }


def _trial_links(trial: SweepTrial, checkpoint_id: str | None) -> dict[str, str]:
    links = {}
    if trial.job_id is not None:
        links = {"job": f"/v1/jobs/{trial.job_id}", "metrics": f"/v1/jobs/{trial.job_id}/metrics"}
    if checkpoint_id is not None:
        links["checkpoint"] = f"/v1/checkpoints/{checkpoint_id}"
    return links
