"""How trials end, and with them their sweep. Every function is called with the sweep's row locked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import func
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES
from services.db.sweep_models import Sweep, SweepTrial
from services.errors import AlreadyTerminal
from services.jobs.steering import request_cancel
from services.metrics.service import full_series
from services.sweeps import repository
from services.sweeps.repository import JobState, TrialAndJob

PRUNED = "pruned"


def settle(session: Session, sweep: Sweep, trials: Sequence[TrialAndJob]) -> None:
    """Write down how those of the open ``trials`` ended whose jobs have."""
    for trial, job in trials:
        if job is not None and job.state in TERMINAL_STATES:
            _settle(session, sweep, trial, job)
    session.flush()


def cancel_open(session: Session, sweep: Sweep, *, reason: str) -> None:
    """End the trials that have no job yet, and ask for the end of the jobs of the others."""
    repository.drop_proposed(session, sweep_id=sweep.id)
    for trial, job in repository.open_trials(session, sweep_ids=[sweep.id]):
        if job is not None and job.state not in TERMINAL_STATES:
            stop_job(session, sweep, trial, reason=reason)


def stop_job(session: Session, sweep: Sweep, trial: SweepTrial, *, reason: str) -> None:
    """Ask for the end of a trial's job; one that ended meanwhile is left as it is."""
    if trial.job_id is None:
        return
    try:
        request_cancel(session, tenant_id=sweep.tenant_id, job_id=trial.job_id, reason=reason)
    except AlreadyTerminal:
        return


def finish(session: Session, sweep: Sweep) -> None:
    """End a sweep none of whose trials is open."""
    found = repository.best_trials(session, sweep_ids={sweep.id: sweep.resolved["objective"]["mode"]})
    if sweep.state == "cancelling":
        sweep.state = "cancelled"
    elif sweep.reason == "too_many_failed_trials":
        sweep.state = "failed"
    elif found:
        sweep.state = "succeeded"
    else:
        sweep.state, sweep.reason = "failed", sweep.reason or "no_trial_succeeded"
    sweep.finished_at = sweep.updated_at = func.now()


def best_of(session: Session, *, job_id: str, objective: dict[str, Any]) -> tuple[float, int] | None:
    """Return the best finite value of a job's series and its step; None when there is none."""
    steps, values = full_series(session, job_id=job_id, name=objective["metric"])
    finite = np.isfinite(values)
    if not finite.any():
        return None
    worst = np.inf if objective["mode"] == "min" else -np.inf
    judged = np.where(finite, values, worst)
    place = int(judged.argmin() if objective["mode"] == "min" else judged.argmax())
    return float(values[place]), int(steps[place])


def _settle(session: Session, sweep: Sweep, trial: SweepTrial, job: JobState) -> None:
    best = best_of(session, job_id=job.id, objective=sweep.resolved["objective"])
    if best is not None:
        trial.objective, trial.best_step = best
    trial.finished_at = job.finished_at
    trial.problem = None
    if job.state == "cancelled":
        trial.state = "pruned" if job.reason == PRUNED else "cancelled"
    elif job.state == "succeeded" and best is None:
        metric = sweep.resolved["objective"]["metric"]
        detail = f"The job made no finite value of {metric}."
        trial.state, trial.problem = "failed", {"code": "no_objective", "detail": detail, "pointer": ""}
    else:
        trial.state = job.state
        if job.error is not None:
            error = {name: job.error.get(name) for name in ("code", "pointer", "hint")}
            trial.problem = {**error, "detail": job.error.get("message")}
