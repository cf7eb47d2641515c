"""The wiring between Celery and the slot of this pool child."""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Callable
from functools import cache

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from services import failpoints
from services.db.engine import Database
from services.identifiers import new_id
from services.logging import configure_logging
from services.queue import RING, Doorbell
from services.telemetry import tracing
from worker.app import COLLECT, FETCH, RECOVER, app, settings
from worker.collecting import Collector
from worker.fetching import Fetcher
from worker.orphans import die_with_main
from worker.recovery import LOCK_SECONDS, recover
from worker.slot import Slot

log = logging.getLogger(__name__)

_draining = mmap.mmap(-1, 1)
"""One byte that Celery's main process shares with the pool children that it forks: 1 once it was told to stop."""
_slots: dict[int, Slot] = {}
_worker_ids: list[str] = []
"""The one of this worker, made by its main process before it forks the children that share it."""
_endings: list[Callable[[], None]] = []
"""What sends the last spans of this pool child."""


@app.task(name=RING)  # type: ignore[untyped-decorator]  # celery ships no types
def ring(job_id: str) -> None:
    """Work until nothing is queued; ``job_id`` is a hint of what began it, not an order."""
    _slot().work()


@app.task(name=RECOVER)  # type: ignore[untyped-decorator]  # celery ships no types
def run_recovery() -> None:
    """Sweep expired leases and ring again for jobs that nobody claimed."""
    recover(*_recovery_parts())


@app.task(name=COLLECT)  # type: ignore[untyped-decorator]  # celery ships no types
def run_collection() -> None:
    """Delete what nothing needs any more, in a thread: this task takes no time."""
    _collector().tick()


@app.task(name=FETCH)  # type: ignore[untyped-decorator]  # celery ships no types
def run_fetches() -> None:
    """Go on with the data sets that are to be fetched, in threads: this task takes no time."""
    _fetcher().tick()


@setup_logging.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _log_as_we_do(**_: object) -> None:
    """Keep Celery from setting up logs: it would take everything below a warning from ours."""
    configure_logging(settings.log_level)
    logging.getLogger("celery").setLevel(logging.WARNING)  # a line or two for every ring and every recovery


@worker_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _prepare(**_: object) -> None:
    configure_logging(settings.log_level)  # comes before Celery asks for it
    failpoints.arm(settings.failpoint)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    _worker_ids.append(new_id("wrk"))
    log.info("worker begins", extra={"worker_id": _worker_ids[0]})


@worker_process_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def open_slot(**_: object) -> None:
    """Make this pool child ready for its first job."""
    die_with_main()
    _endings.append(tracing.configure(settings, part="worker"))
    _slot().open()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _close_slot(**_: object) -> None:
    _slot().close()
    while _endings:
        _endings.pop()()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _begin_drain(**_: object) -> None:
    _draining[0] = 1


def _slot() -> Slot:
    """Return this process's slot; a forked child never uses its parent's."""
    pid = os.getpid()
    if pid not in _slots:
        _slots[pid] = Slot(settings, worker_id=_worker_ids[0], draining=lambda: _draining[0] == 1)
    return _slots[pid]


@cache
def _fetcher() -> Fetcher:
    return Fetcher(settings)


@cache
def _collector() -> Collector:
    return Collector(settings)


@cache
def _recovery_parts() -> tuple[Database, Doorbell]:
    database = Database(
        settings.database_url,
        pool_size=1,
        idle_transaction_seconds=settings.lease_seconds,
        lock_seconds=LOCK_SECONDS,
    )
    return database, Doorbell(settings.redis_url)
