"""Moves sweeps on: from the rows alone, one short transaction at a time, so that it may be killed between any two.

A trial is first *proposed* (its point is written down), then *submitted* (its job is inserted and the trial marked, in
one transaction). Drivers may run beside each other: each step is made under the lock of the sweep's row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.engine import Database
from services.db.sweep_models import OPEN_TRIAL_STATES, Sweep, SweepTrial
from services.errors import InvalidRequest, Problem, QuotaExceeded, Unavailable
from services.jobs.service import submit
from services.preflight import Preflight
from services.queue import Doorbell
from services.sweeps import repository
from services.sweeps.ending import cancel_open, finish, settle
from services.sweeps.halving import judge
from services.sweeps.repository import TrialAndJob
from services.sweeps.requests import trial_request
from services.sweeps.space import parameters, read_space

LAUNCHES = 8
"""Trials of one sweep that are submitted before other sweeps have their turn."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the driver works with. ``preflight`` is asked for only when a trial is to be checked: it loads torch."""

    database: Database
    settings: Settings
    doorbell: Doorbell
    preflight: Callable[[], Preflight]


class _TakenAway(Exception):
    """The trial is no longer there to be submitted: another driver was first, or the sweep stops."""


def advance(means: Means, *, sweep_id: str) -> bool:
    """Do for a sweep what can be done now; return whether there may be more to do at once.

    Raises:
        DBAPIError: PostgreSQL is away; what is done so far holds.
    """
    with means.database.session() as session:
        proposed = step(session, sweep_id=sweep_id)
    waiting = [number for number in proposed[:LAUNCHES] if not _launch(means, sweep_id, number)]
    return len(proposed) > len(waiting)


def step(session: Session, *, sweep_id: str) -> list[int]:
    """Judge who is at a rung, settle what ended, stop or finish or propose; return the trials to be submitted.

    None are returned while another driver has the sweep.
    """
    sweep = repository.find_locked(session, sweep_id=sweep_id, wait=False)
    if sweep is None or sweep.finished_at is not None:
        return []
    open_ = repository.open_trials(session, sweep_ids=[sweep.id])
    judge(session, sweep, open_)  # before those that ended are settled: they have passed rungs too
    settle(session, sweep, open_)
    if sweep.state == "running" and _stop_if_due(session, sweep):
        open_ = repository.open_trials(session, sweep_ids=[sweep.id])
    if sweep.state == "running" and _count_open(open_) < sweep.resolved["budget"]["parallel"]:
        open_ += [(trial, None) for trial in _propose(session, sweep)]
    if not _count_open(open_):
        finish(session, sweep)
    return [trial.number for trial, _ in open_ if trial.state == "proposed"]


def _count_open(trials: list[TrialAndJob]) -> int:
    return sum(trial.state in OPEN_TRIAL_STATES for trial, _ in trials)


def _stop_if_due(session: Session, sweep: Sweep) -> bool:
    """Stop a sweep whose time is up, or too many of whose trials failed, and return whether that is so."""
    budget = sweep.resolved["budget"]
    failed = repository.counts(session, sweep_ids=[sweep.id])[sweep.id].get("failed", 0)
    if failed > budget["failed_trials"]:
        sweep.reason = "too_many_failed_trials"
    elif repository.seconds_since_creation(session, sweep_id=sweep.id) > budget["max_runtime_seconds"]:
        sweep.reason = "timeout"
    else:
        return False
    sweep.state, sweep.updated_at = "stopping", func.now()
    cancel_open(session, sweep, reason="sweep_stopped")
    return True


def _propose(session: Session, sweep: Sweep) -> list[SweepTrial]:
    """Draw points until as many trials are open as may be, or the budget is used up, and return these trials."""
    trials = repository.trials(session, sweep_id=sweep.id)
    known = len(trials)
    while _has_room(sweep.resolved, trials):
        trial = _drawn(sweep, trials)
        session.add(trial)
        trials.append(trial)
    if _has_too_many_invalid(sweep.resolved, trials):
        sweep.reason = "too_many_invalid_trials"
    session.flush()
    return trials[known:]


def _has_room(resolved: dict[str, Any], trials: list[SweepTrial]) -> bool:
    budget: dict[str, int] = resolved["budget"]
    if sum(trial.state in OPEN_TRIAL_STATES for trial in trials) >= budget["parallel"]:
        return False
    if resolved["strategy"] == "grid":
        return len(trials) < budget["trials"]
    valid = sum(trial.state != "invalid" for trial in trials)
    return valid < budget["trials"] and not _has_too_many_invalid(resolved, trials)


def _has_too_many_invalid(resolved: dict[str, Any], trials: list[SweepTrial]) -> bool:
    cap: int = resolved["budget"]["invalid_trials"]
    return resolved["strategy"] != "grid" and sum(trial.state == "invalid" for trial in trials) > cap


def _drawn(sweep: Sweep, trials: list[SweepTrial]) -> SweepTrial:
    """Return the next trial, which follows from the stored ones alone."""
    from services.sweeps.history import past  # noqa: PLC0415 - Optuna takes half a second to load
    from services.sweeps.sampling import suggest  # noqa: PLC0415

    resolved = sweep.resolved
    space = read_space(resolved["space"])
    drawn = suggest(
        space,
        strategy=resolved["strategy"],
        mode=resolved["objective"]["mode"],
        seed=resolved["seed"],
        number=len(trials),
        past=[past(trial) for trial in trials],
    )
    values = parameters(space, drawn)
    return SweepTrial(sweep_id=sweep.id, number=len(trials), state="proposed", drawn=drawn, parameters=values, rungs=[])


def _launch(means: Means, sweep_id: str, number: int) -> bool:
    """Submit a proposed trial as a job, or find that it cannot be trained; False where it has to wait."""
    try:
        with means.database.session() as session:
            _submit(session, means, sweep_id, number)
    except _TakenAway:
        return True
    except InvalidRequest as error:
        _refuse(means.database, sweep_id, number, _of_trial(error))
    except (QuotaExceeded, Unavailable) as error:
        log.warning("trial waits: %s", error, extra={"sweep_id": sweep_id, "trial": number})
        _note(means.database, sweep_id, number, {"code": error.code, "detail": error.detail, "hint": error.hint})
        return False
    except DBAPIError:
        raise
    except Exception:
        log.exception("trial not submitted", extra={"sweep_id": sweep_id, "trial": number})
        _refuse(means.database, sweep_id, number, {"code": "internal_error", "detail": "Our fault; see the log."})
    return True


def _submit(session: Session, means: Means, sweep_id: str, number: int) -> None:
    """Insert the job of a trial and mark the trial, together or not at all.

    The checks come before the lock: they take as long as the model wants.
    """
    sweep = session.get_one(Sweep, sweep_id)
    trial = repository.find_trial(session, sweep_id=sweep_id, number=number)
    if trial is None or trial.state != "proposed":
        raise _TakenAway
    made = submit(
        session,
        tenant_id=sweep.tenant_id,
        body=trial_request(sweep.resolved["base"], trial.parameters, sweep_id=sweep_id, number=number),
        preflight=means.preflight(),
        settings=means.settings,
        doorbell=means.doorbell,
        origin={"kind": "sweep", "sweep_id": sweep_id, "trial": number},
    )
    trial = _locked(session, sweep_id, number)
    trial.state, trial.job_id, trial.problem = "submitted", made.job["id"], None


def _refuse(database: Database, sweep_id: str, number: int, problem: dict[str, Any]) -> None:
    """End a trial that cannot be trained, before it cost a worker."""
    try:
        with database.session() as session:
            trial = _locked(session, sweep_id, number)
            trial.state, trial.problem, trial.finished_at = "invalid", problem, func.now()
    except _TakenAway:
        return


def _note(database: Database, sweep_id: str, number: int, problem: dict[str, Any]) -> None:
    """Say why a trial waits."""
    try:
        with database.session() as session:
            _locked(session, sweep_id, number).problem = problem
    except _TakenAway:
        return


def _locked(session: Session, sweep_id: str, number: int) -> SweepTrial:
    """Lock the sweep and return a trial of it that is still proposed.

    Raises:
        _TakenAway: it is not, or the sweep is about to end.
    """
    sweep = repository.find_locked(session, sweep_id=sweep_id)
    trial = repository.find_trial(session, sweep_id=sweep_id, number=number)
    if sweep is None or sweep.state != "running" or trial is None or trial.state != "proposed":
        raise _TakenAway
    return trial


def _of_trial(error: InvalidRequest) -> dict[str, Any]:
    first: Problem = error.problems[0]
    return {**first.to_dict(), "problems": len(error.problems)}
