"""The rungs of ASHA: which trials have reached one, by their stored metrics, and which of them are stopped there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.db.sweep_models import Sweep, SweepTrial
from services.metrics.service import full_series
from services.sweeps import repository
from services.sweeps.ending import PRUNED, stop_job
from services.sweeps.repository import JobState, TrialAndJob


def judge(session: Session, sweep: Sweep, open_: Sequence[TrialAndJob]) -> None:
    """Write down what the open trials had at the rungs that they reached, and stop those that are not among the best.

    A trial that ended before it was looked at is compared with all the same, but not stopped. The order is that of
    trial numbers among those that are found at a rung at one look; else who comes first is judged first.
    """
    asha = sweep.resolved["asha"]
    if asha is None or sweep.state != "running":
        return
    reached = [(trial, job) for trial, job in open_ if _is_due(trial, job, asha)]
    if not reached:
        return
    trials = repository.trials(session, sweep_id=sweep.id)
    for trial, job in reached:
        if job is not None and not _stopped(trial):
            _climb(session, sweep, trial, job, trials)
    session.flush()


def _climb(session: Session, sweep: Sweep, trial: SweepTrial, job: JobState, trials: list[SweepTrial]) -> None:
    """Judge a trial at each rung that it has reached, until it is stopped at one."""
    from services.sweeps.pruning import survives  # noqa: PLC0415 - Optuna takes half a second to load

    asha = sweep.resolved["asha"]
    steps, values = full_series(session, job_id=job.id, name=asha["metric"])
    ended = job.finished_at is not None
    while (rung := _next_rung(trial, job, asha)) is not None:
        later = (steps >= rung).nonzero()[0]
        if not len(later):
            return
        step, value = int(steps[later[0]]), float(values[later[0]])
        place = len(trial.rungs)
        others = [one.rungs[place]["value"] for one in trials if one.number != trial.number and len(one.rungs) > place]
        rivals = [one for one in others if one is not None]
        good = survives(value, rivals, mode=asha["mode"], reduction_factor=asha["reduction_factor"])
        shown = value if math.isfinite(value) else None
        trial.rungs = [*trial.rungs, {"step": step, "value": shown, "promoted": good or ended}]
        if not good and not ended:
            stop_job(session, sweep, trial, reason=PRUNED)
            return


def _is_due(trial: SweepTrial, job: JobState | None, asha: dict[str, Any]) -> bool:
    """Return whether a look at the metrics of a trial is worth it."""
    if job is None or _stopped(trial):
        return False
    rung = _next_rung(trial, job, asha)
    return rung is not None and (job.progress.get("step") or 0) >= rung


def _next_rung(trial: SweepTrial, job: JobState, asha: dict[str, Any]) -> int | None:
    """Return the step of the next rung; None when there is none before the end of the job."""
    progress = job.progress
    factor = asha["reduction_factor"] ** len(trial.rungs)
    if asha["min_steps"] is not None:
        rung = asha["min_steps"] * factor
    elif progress.get("total_epochs") and progress.get("total_steps"):
        rung = round(asha["min_epochs"] * factor * progress["total_steps"] / progress["total_epochs"])
    else:
        return None
    total = progress.get("total_steps")
    return rung if total is None or rung < total else None


def _stopped(trial: SweepTrial) -> bool:
    return bool(trial.rungs) and not trial.rungs[-1]["promoted"]
