"""What clients do to sweeps: create, check, look at, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.after_commit import after_commit
from services.db.clock import new_row_id
from services.db.sweep_models import ENDED_SWEEP_STATES, Sweep
from services.errors import AlreadyTerminal, NotFound
from services.idempotency import service as idempotency
from services.identifiers import check_id
from services.limits import quotas
from services.limits.storage import check_storage
from services.pages import Page, id_cursor
from services.preflight import Preflight
from services.queue import Doorbell
from services.sweeps import repository
from services.sweeps.ending import cancel_open, finish, settle
from services.sweeps.resolve import resolve
from services.sweeps.views import open_trial_view, sweep_view


@dataclass(frozen=True, slots=True)
class Creation:
    """The answer to a create: the sweep, and whether an earlier request with the same key made it."""

    sweep: dict[str, Any]
    replayed: bool


def create(
    session: Session,
    *,
    tenant_id: str,
    body: dict[str, Any],
    preflight: Preflight,
    settings: Settings,
    doorbell: Doorbell,
    idempotency_key: str | None = None,
) -> Creation:
    """Check a sweep and store it; trials begin when the driver, rung after the commit, takes it up.

    Raises:
        InvalidRequest: with every problem of the request; those of the base job lie below ``/base``.
        QuotaExceeded: too many of the tenant's sweeps have not ended.
        IdempotencyInProgress, IdempotencyMismatch, MalformedRequest: see `services.idempotency.service`.
        Unavailable: the definition could not be checked right now.
    """
    asked = {"sweep": body}  # a key belongs to one call
    if idempotency_key is not None:
        answer = idempotency.find_replay(session, tenant_id=tenant_id, key=idempotency_key, body=asked)
        if answer is not None:
            return Creation(answer, replayed=True)
    resolved, _ = resolve(session, tenant_id, body, preflight, settings)
    _check_quota(session, tenant_id, settings)
    sweep = Sweep(
        id=new_row_id(session, "swp"), tenant_id=tenant_id, name=body.get("name"), request=body, resolved=resolved
    )
    session.add(sweep)
    session.flush()
    view = sweep_view(sweep, {}, None, None, [])
    if idempotency_key is not None:
        idempotency.remember(session, tenant_id=tenant_id, key=idempotency_key, body=asked, response=view)
    after_commit(session, doorbell.ring_sweeps)
    return Creation(view, replayed=False)


def validate(
    session: Session, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Check a sweep as `create` does, and return what it would try and the preflight report of its base.

    Raises:
        InvalidRequest, Unavailable: as `create`.
    """
    resolved, report = resolve(session, tenant_id, body, preflight, settings)
    return {"object": "sweep_validation", "valid": True, "resolved": resolved, "preflight": report}


def get_sweep(session: Session, *, tenant_id: str, sweep_id: str) -> dict[str, Any]:
    """Return one sweep's view.

    Raises:
        NotFound: the tenant has no such sweep.
        InvalidRequest: ``invalid_id``.
    """
    return _views(session, [find_sweep(session, tenant_id=tenant_id, sweep_id=sweep_id)])[0]


def list_sweeps(
    session: Session,
    *,
    tenant_id: str,
    limit: int = 20,
    after: str | None = None,
    states: Sequence[str] = (),
    created_after: datetime | None = None,
) -> Page:
    """Return a page of the tenant's sweeps, newest first.

    Raises:
        InvalidRequest: ``invalid_cursor``.
    """
    cursor = id_cursor(after, "swp")
    rows = repository.page(
        session, tenant_id=tenant_id, limit=limit + 1, after=cursor, states=states, created_after=created_after
    )
    return Page.of(_views(session, rows), limit=limit)


def request_cancel(session: Session, *, tenant_id: str, sweep_id: str, doorbell: Doorbell) -> dict[str, Any]:
    """Cancel a sweep and its jobs: what waits at once, what trains within seconds; asking twice is asking once.

    Raises:
        NotFound: the tenant has no such sweep.
        AlreadyTerminal: it has ended.
        InvalidRequest: ``invalid_id``.
    """
    sweep = repository.find_locked(session, tenant_id=tenant_id, sweep_id=check_id(sweep_id, "swp"))
    if sweep is None:
        raise NotFound()
    if sweep.state in ENDED_SWEEP_STATES:
        raise AlreadyTerminal(sweep.state, what="sweep")
    if sweep.cancel_requested_at is None:
        sweep.cancel_requested_at = sweep.updated_at = func.now()
        sweep.state, sweep.reason = "cancelling", "cancel_requested"
        cancel_open(session, sweep, reason="sweep_cancelled")
        settle(session, sweep, repository.open_trials(session, sweep_ids=[sweep.id]))
        if not repository.open_trials(session, sweep_ids=[sweep.id]):
            finish(session, sweep)
        session.flush()
        session.refresh(sweep)
        after_commit(session, doorbell.ring_sweeps)
    return _views(session, [sweep])[0]


def find_sweep(session: Session, *, tenant_id: str, sweep_id: str) -> Sweep:
    """Return the row of a sweep.

    Raises:
        NotFound, InvalidRequest: as `get_sweep`.
    """
    sweep = repository.find(session, tenant_id=tenant_id, sweep_id=check_id(sweep_id, "swp"))
    if sweep is None:
        raise NotFound()
    return sweep


def _views(session: Session, sweeps: Sequence[Sweep]) -> list[dict[str, Any]]:
    counts = repository.counts(session, sweep_ids=[sweep.id for sweep in sweeps])
    modes = {sweep.id: sweep.resolved["objective"]["mode"] for sweep in sweeps}
    best = repository.best_trials(session, sweep_ids=modes)
    jobs = [trial.job_id for trial in best.values() if trial.job_id is not None]
    kept = repository.checkpoints(session, job_ids=jobs)
    open_ = repository.open_trials(session, sweep_ids=[sweep.id for sweep in sweeps])
    views = []
    for sweep in sweeps:
        metric = sweep.resolved["objective"]["metric"]
        shown = [open_trial_view(one, job, metric) for one, job in open_ if one.sweep_id == sweep.id]
        trial = best.get(sweep.id)
        checkpoint = kept.get(trial.job_id) if trial is not None and trial.job_id is not None else None
        views.append(sweep_view(sweep, counts[sweep.id], trial, checkpoint, shown))
    return views


def _check_quota(session: Session, tenant_id: str, settings: Settings) -> None:
    limit = quotas.limits_of(session, tenant_id=tenant_id, settings=settings)["active_sweeps"]
    count = partial(repository.count_active, session, tenant_id=tenant_id)
    quotas.check(session, tenant_id=tenant_id, name="active_sweeps", limit=limit, count=count)
    check_storage(session, tenant_id=tenant_id, settings=settings)
