"""A slot: room for one job at a time in one pool child, with its database pool and its fork server."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from services.config import Settings
from services.db.engine import is_outage
from services.failpoints import hit
from services.forkserver.client import ForkServer
from services.jobs.claims import Claim, claim_next
from services.queue import Doorbell
from services.storage.place import open_database
from services.workers.registry import SlotFacts
from worker.about import describe
from worker.heartbeat import Heartbeat
from worker.recovery import RESTART_GRACE_SECONDS, release_due, sweep
from worker.supervisor import DRAIN_GRACE_SECONDS, Site, supervise

TRAINER = "worker.trainer.main"
WARM = "worker.trainer.warm:warm"
CLOSE_SECONDS = DRAIN_GRACE_SECONDS + 5.0

log = logging.getLogger(__name__)


class Slot:
    """Claims jobs and supervises them one after the other, when the doorbell rings and every few seconds anyway."""

    def __init__(self, settings: Settings, *, worker_id: str, draining: Callable[[], bool]) -> None:
        self._settings = settings
        self._draining = draining
        self._busy = threading.Lock()
        self._closed = threading.Event()
        self._doorbell = Doorbell(settings.redis_url)
        self._owner = f"{socket.gethostname()}/{os.getpid()}"
        self._site = Site(
            database=open_database(
                settings,
                pool_size=2,
                idle_transaction_seconds=settings.lease_seconds,
                # A write that waits for longer is tried again, and the lease is renewed in between.
                lock_seconds=settings.renew_seconds,
            ),
            settings=settings,
            fork_server=ForkServer(preload=[TRAINER, WARM]),
            draining=draining,
        )
        about = describe(settings.devices, gpus=settings.gpus, cores=settings.processes)
        facts = SlotFacts(self._owner, worker_id, settings.device_classes, about)
        self._heartbeat = Heartbeat(self._site.database, facts, draining=draining)

    def open(self) -> None:
        """Start the fork server, so that torch is there before the first job, and the poll of the database."""
        self._site.fork_server.start()
        self._heartbeat.start()
        threading.Thread(target=self._poll, name="database-poll", daemon=True).start()

    def work(self) -> None:
        """Run queued jobs until there is none left that fits; waits while the slot is at work already."""
        with self._busy:
            self._site.fork_server.wait_ready()  # before the claim: a lease must not run while torch is imported
            try:
                while not self._draining() and (claim := self._claim()) is not None:
                    supervise(self._site, claim)
                    self._tell_sweep(claim)
            except DBAPIError as error:
                if not is_outage(error):
                    raise
                log.warning("no claim while the database is away: %s", error.orig)

    def close(self) -> None:
        """Stop polling, let a job that drains write its checkpoint, end the fork server and the connections."""
        self._closed.set()
        self._busy.acquire(timeout=CLOSE_SECONDS)
        self._heartbeat.close()
        self._site.fork_server.close()
        self._site.database.close()
        self._doorbell.close()

    def _claim(self) -> Claim | None:
        with self._site.database.session() as session:
            claim = claim_next(
                session,
                owner=self._owner,
                devices=self._settings.device_classes,
                lease_seconds=self._settings.lease_seconds,
                max_running_jobs=self._settings.max_running_jobs or None,
            )
            if claim is not None:
                hit("in_claim")
        if claim is not None:
            hit("after_claim")
        return claim

    def _tell_sweep(self, claim: Claim) -> None:
        """Let the sweep of a trial go on at once; it would within seconds anyway."""
        if claim.origin is not None and claim.origin["kind"] == "sweep":
            self._doorbell.ring_sweeps()

    def _poll(self) -> None:
        """Look for work and for expired leases without being told: Redis may be away."""
        while not self._closed.wait(self._settings.database_poll_seconds):
            if self._busy.locked() or self._draining():
                continue
            for look in (self._recover, self.work):
                try:
                    look()
                except Exception:  # this thread is what is left when all else fails: it looks again
                    log.exception("the poll of the database goes on")

    def _recover(self) -> None:
        """Do for others what the scheduler does, should there be none."""
        try:
            sweep(self._site.database, grace_seconds=RESTART_GRACE_SECONDS)
            release_due(self._site.database, self._doorbell)
        except DBAPIError as error:
            log.warning("no sweep: %s", error.orig)
