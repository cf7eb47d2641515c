"""All SQL about sweeps and their trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, select, text, update
from sqlalchemy.orm import Session

from services.db.models import TERMINAL_STATES, Checkpoint, Job
from services.db.sweep_models import OPEN_TRIAL_STATES, Sweep, SweepTrial


@dataclass(frozen=True, slots=True)
class JobState:
    """What a sweep looks at in the job of a trial."""

    id: str
    state: str
    reason: str | None
    progress: dict[str, Any]
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


SETTLING = "settling"
"""How a trial is shown whose job has ended, until the driver has written down how: for seconds at most."""
_SHOWN_STATE = case(
    (SweepTrial.state != "submitted", SweepTrial.state), (Job.state.in_(TERMINAL_STATES), SETTLING), else_=Job.state
)

_JOB = (Job.id, Job.state, Job.reason, Job.progress, Job.error, Job.created_at, Job.started_at, Job.finished_at)
TrialAndJob = tuple[SweepTrial, JobState | None]


def find(session: Session, *, tenant_id: str, sweep_id: str) -> Sweep | None:
    """Return the tenant's sweep, unlocked."""
    return session.scalar(select(Sweep).where(Sweep.id == sweep_id, Sweep.tenant_id == tenant_id))


def find_locked(session: Session, *, sweep_id: str, tenant_id: str | None = None, wait: bool = True) -> Sweep | None:
    """Return a sweep with its row locked until the transaction ends; None too where another has it and ``wait`` is off.

    Whoever changes a sweep or its trials holds this lock, so that they change by one hand at a time.
    """
    query = select(Sweep).where(Sweep.id == sweep_id).with_for_update(skip_locked=not wait)
    if tenant_id is not None:
        query = query.where(Sweep.tenant_id == tenant_id)
    return session.scalar(query.execution_options(populate_existing=True))


def page(
    session: Session,
    *,
    tenant_id: str,
    limit: int,
    after: str | None,
    states: Sequence[str],
    created_after: datetime | None,
) -> list[Sweep]:
    """Return up to ``limit`` sweeps, newest first, older than ``after``."""
    query = select(Sweep).where(Sweep.tenant_id == tenant_id)
    if after is not None:
        query = query.where(Sweep.id < after)
    if states:
        query = query.where(Sweep.state.in_(states))
    if created_after is not None:
        query = query.where(Sweep.created_at > created_after)
    return list(session.scalars(query.order_by(Sweep.id.desc()).limit(limit)))


def active(session: Session) -> list[str]:
    """Return the ids of all sweeps that have not ended, oldest first."""
    return list(session.scalars(select(Sweep.id).where(Sweep.finished_at.is_(None)).order_by(Sweep.id)))


def count_active(session: Session, *, tenant_id: str) -> int:
    """Return how many of the tenant's sweeps have not ended."""
    query = select(func.count()).where(Sweep.tenant_id == tenant_id, Sweep.finished_at.is_(None))
    return session.scalar(query) or 0


def seconds_since_creation(session: Session, *, sweep_id: str) -> float:
    """Return how long a sweep has been there, by the database's clock."""
    age = func.extract("epoch", func.clock_timestamp() - Sweep.created_at)
    return float(session.scalar(select(age).where(Sweep.id == sweep_id)) or 0.0)


def counts(session: Session, *, sweep_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return for each sweep how many of its trials are in which state; submitted ones by the state of their job."""
    rows = session.execute(
        select(SweepTrial.sweep_id, _SHOWN_STATE.label("shown"), func.count())
        .outerjoin(Job, Job.id == SweepTrial.job_id)
        .where(SweepTrial.sweep_id.in_(sweep_ids))
        .group_by(SweepTrial.sweep_id, text("shown"))
    )
    found: dict[str, dict[str, int]] = {sweep_id: {} for sweep_id in sweep_ids}
    for sweep_id, shown, count in rows:
        found[sweep_id][shown] = count
    return found


def trials(session: Session, *, sweep_id: str) -> list[SweepTrial]:
    """Return all trials by number."""
    return list(session.scalars(select(SweepTrial).where(SweepTrial.sweep_id == sweep_id).order_by(SweepTrial.number)))


def open_trials(session: Session, *, sweep_ids: Sequence[str]) -> list[TrialAndJob]:
    """Return the trials of some sweeps that have not ended, by number, with their jobs."""
    query = _with_jobs().where(SweepTrial.sweep_id.in_(sweep_ids), SweepTrial.state.in_(OPEN_TRIAL_STATES))
    return _pairs(session, query)


def trial_page(
    session: Session, *, sweep_id: str, limit: int | None, after: int | None, states: Sequence[str]
) -> list[TrialAndJob]:
    """Return up to ``limit`` trials by number, after ``after``, with their jobs."""
    query = _with_jobs().where(SweepTrial.sweep_id == sweep_id)
    if after is not None:
        query = query.where(SweepTrial.number > after)
    if states:
        query = query.where(_SHOWN_STATE.in_(states))
    return _pairs(session, query.limit(limit))


def find_trial(session: Session, *, sweep_id: str, number: int) -> SweepTrial | None:
    """Return one trial as it stands now."""
    return session.get(SweepTrial, (sweep_id, number), populate_existing=True)


def best_trials(session: Session, *, sweep_ids: dict[str, str]) -> dict[str, SweepTrial]:
    """Return the best trial of each sweep that has one; ``sweep_ids`` maps each to its mode, ``min`` or ``max``."""
    found: dict[str, SweepTrial] = {}
    for mode, order in (("min", SweepTrial.objective), ("max", SweepTrial.objective.desc())):
        ids = [sweep_id for sweep_id, wanted in sweep_ids.items() if wanted == mode]
        ranked = (
            select(
                SweepTrial.sweep_id,
                SweepTrial.number,
                func.row_number()
                .over(partition_by=SweepTrial.sweep_id, order_by=(order, SweepTrial.number))
                .label("rank"),
            )
            .where(SweepTrial.sweep_id.in_(ids), SweepTrial.objective.is_not(None))
            .subquery()
        )
        same = (SweepTrial.sweep_id == ranked.c.sweep_id) & (SweepTrial.number == ranked.c.number)
        rows = session.scalars(select(SweepTrial).join(ranked, same).where(ranked.c.rank == 1))
        found |= {row.sweep_id: row for row in rows}
    return found


def checkpoints(session: Session, *, job_ids: Sequence[str]) -> dict[str, str]:
    """Return for each job the id of its best checkpoint, else of its newest; jobs without one are left out."""
    order = (Checkpoint.best.desc(), Checkpoint.step.desc())
    ranked = (
        select(
            Checkpoint.job_id,
            Checkpoint.id,
            func.row_number().over(partition_by=Checkpoint.job_id, order_by=order).label("rank"),
        )
        .where(Checkpoint.job_id.in_(job_ids))
        .subquery()
    )
    rows = session.execute(select(ranked.c.job_id, ranked.c.id).where(ranked.c.rank == 1))
    return {row.job_id: row.id for row in rows}


def drop_proposed(session: Session, *, sweep_id: str) -> None:
    """End the trials that have no job yet as cancelled."""
    session.execute(
        update(SweepTrial)
        .where(SweepTrial.sweep_id == sweep_id, SweepTrial.state == "proposed")
        .values(state="cancelled", finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _with_jobs() -> Select[Any]:
    return select(SweepTrial, *_JOB).outerjoin(Job, Job.id == SweepTrial.job_id).order_by(SweepTrial.number)


def _pairs(session: Session, query: Select[Any]) -> list[TrialAndJob]:
    rows = session.execute(query.execution_options(populate_existing=True))
    return [(trial, JobState(*job) if job[0] is not None else None) for trial, *job in rows]
