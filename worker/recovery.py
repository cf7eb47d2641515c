"""The periodic call that makes lost messages and dead workers cost seconds instead of jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.audit.service import forget_old
from services.checkpoints.keeping import delete_expired
from services.datasets.uploads import delete_abandoned
from services.db.engine import Database, is_locked
from services.db.models import Job
from services.errors import StoreUnavailable
from services.failpoints import hit
from services.jobs import repository
from services.jobs.outcomes import expire
from services.jobs.schedule import release
from services.jobs.waiting import note_waiting
from services.queue import Doorbell
from services.storage.chunks import collect_garbage
from services.storage.orphans import collect_orphans
from services.telemetry.counters import count_events, note_seen
from services.webhooks.deliveries import delete_settled
from services.workers.registry import forget_lost

UNANSWERED_SECONDS = 10.0
ABANDONED_SECONDS = 7 * 86_400.0
"""An upload that nobody went on with for so long is deleted."""
DELIVERY_SECONDS = 30 * 86_400.0
"""So long the log of a webhook shows what was delivered or given up."""
RESTART_GRACE_SECONDS = 8.0
"""An owner that finds PostgreSQL again after a restart has renewed by then: a try takes 5 s at most."""
LOCK_SECONDS = 1.0
"""So long the scheduler's recovery waits for a lock, such as that of a row which a frozen API was about to delete."""
_BATCH = 100
_DELIVERIES = 5_000
_GARBAGE_BATCHES = 8
"""So many transactions of up to 500 chunks a call: a recovery that is due meanwhile must not wait for long."""

log = logging.getLogger(__name__)


def recover(database: Database, doorbell: Doorbell) -> None:
    """Sweep expired leases, let jobs go whose time has come, then ring again for jobs that nobody claimed for 10 s.

    Any number of recoveries may run at once: each lease and each ring is taken by one of them.
    """
    sweep(database, grace_seconds=RESTART_GRACE_SECONDS)
    release_due(database, doorbell)
    _leave_word(database)
    unanswered = _unanswered(database)
    for job_id, device in unanswered:
        doorbell.ring(job_id, device)
    _note_waiting(database, [job_id for job_id, _ in unanswered])


def sweep(database: Database, *, grace_seconds: float = 0.0) -> int:
    """Take every job whose owner stopped renewing, and return how many; none so soon after PostgreSQL's start."""

    def find(session: Session, without: Sequence[str]) -> Job | None:
        return repository.lock_expired(session, without=without, grace_seconds=grace_seconds)

    def take(session: Session, job: Job) -> None:
        log.warning("lease expired", extra={"job_id": job.id, "owner": job.owner, "attempt": job.attempt})
        expire(session, job)
        hit("in_sweep")

    swept = _each(database, find, take)
    if swept:
        hit("after_sweep")
    return len(swept)


def forget(database: Database, *, audit_days: int) -> int:
    """Delete entries of the audit log that are older than the operator keeps them; return how many."""
    with database.session() as session:
        return forget_old(session, days=audit_days)


def release_due(database: Database, doorbell: Doorbell) -> int:
    """Put the jobs whose start time has come where workers look, ring for them, and return how many."""
    due = _each(database, lambda session, without: repository.lock_due(session, without=without), release)
    for job in due:
        doorbell.ring(job.id, job.device)
    return len(due)


def collect(database: Database) -> int:
    """Delete what is too old (uploads, checkpoints, deliveries) and unused for a day; return how many chunks went."""
    with database.session() as session:
        delete_abandoned(session, older_than_seconds=ABANDONED_SECONDS)
        delete_expired(session)
        delete_settled(session, older_than_seconds=DELIVERY_SECONDS, limit=_DELIVERIES)
        forget_lost(session)
    collected = 0
    for _ in range(_GARBAGE_BATCHES):
        with database.session() as session:
            gone = collect_garbage(session)
        collected += gone
        if not gone:
            break
    return collected


def collect_objects(database: Database, *, after: str | None) -> str | None:
    """Delete objects that no chunk has, of the next thousand in the object store; return where to go on."""
    try:
        gone, after = collect_orphans(database, after=after)
    except StoreUnavailable as error:
        log.warning("no objects collected: %s", error.detail)
    else:
        if gone:
            log.info("collected %d objects without a chunk", gone)
    return after


def _each(
    database: Database,
    find: Callable[[Session, Sequence[str]], Job | None],
    change: Callable[[Session, Job], None],
) -> list[Job]:
    """Change the jobs that ``find`` locks, each in a transaction of its own, and return them.

    One for which that waits in vain for a lock (the database's ``lock_seconds``) is left for the next time: it keeps
    neither the others nor their rows waiting.
    """
    changed, left = list[Job](), list[str]()
    while len(changed) + len(left) < _BATCH:
        job_id = ""
        try:
            with database.session() as session:
                job = find(session, left)
                if job is None:
                    break
                job_id = job.id
                change(session, job)
        except DBAPIError as error:
            if not job_id or not is_locked(error):
                raise
            log.warning("job left for the next time: %s", error.orig, extra={"job_id": job_id})
            left.append(job_id)
        else:
            changed.append(job)
    return changed


def _leave_word(database: Database) -> None:
    """Say that the scheduler is alive, and count what has happened since the last time."""
    with database.session() as session:
        note_seen(session, part="scheduler")
        count_events(session)


def _note_waiting(database: Database, job_ids: list[str]) -> None:
    with database.session() as session:
        note_waiting(session, job_ids=job_ids)


def _unanswered(database: Database) -> list[tuple[str, str]]:
    with database.session() as session:
        return repository.unanswered(session, seconds=UNANSWERED_SECONDS, limit=_BATCH)
