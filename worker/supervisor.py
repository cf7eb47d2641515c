"""Drives one trainer through one attempt: starts it, writes down what it says, and settles how it ended.

No torch here: what a model does to its process cannot reach this one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.checkpoints.service import fetch_weights, restore
from services.config import Settings
from services.datasets.builtin import materialise
from services.datasets.data_file import DataFile
from services.datasets.fetch import fetch
from services.db.engine import Database
from services.disk import is_disk_full, storage_full
from services.errors import ChunkCorrupt, Fenced, ModelwrightError, NotFound, StorageFull, TrainingFailure
from services.failpoints import hit
from services.forkserver.child import Child
from services.forkserver.client import ForkServer
from services.forkserver.limits import Limits
from services.jobs import outcomes
from services.jobs.claims import Claim
from services.logging import about
from services.telemetry.tracing import span
from worker.journal import Journal
from worker.lease import Lease
from worker.scratch import Scratch
from worker.watchdog import Watchdog

TARGET = "worker.trainer.main:run"
CANCEL_GRACE_SECONDS = 10.0
DRAIN_GRACE_SECONDS = 30.0
_GRACE_SECONDS = {"cancel": CANCEL_GRACE_SECONDS, "pause": DRAIN_GRACE_SECONDS}
_LISTEN_SECONDS = 0.1
TRAINER_NICENESS = 5
"""Alone a trainer is as fast as without; where processors are short, leases are renewed and torch is imported first."""

log = logging.getLogger(__name__)
Settle = Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class Site:
    """What a supervisor works with; one for each slot."""

    database: Database
    settings: Settings
    fork_server: ForkServer
    draining: Callable[[], bool]


def supervise(site: Site, claim: Claim) -> None:
    """Run one attempt at the claimed job to its end; whatever happens, the claim is settled, or was lost to another."""
    ids = {"job_id": claim.job_id, "attempt": claim.attempt, "epoch": claim.epoch}
    with about(**ids, tenant_id=claim.tenant_id), span("job.attempt", parent=claim.traceparent, **ids):
        log.info("attempt begins")
        lease = Lease(site.database, claim, site.settings)
        try:
            settle = _attempt(site, lease)
            hit("before_outcome")
            with span("job.settle"):
                lease.write(settle, when_full=True)
        except Fenced as fenced:
            log.warning("attempt abandoned: %s", fenced)
        else:
            hit("after_outcome")
            log.info("attempt settled")


def _attempt(site: Site, lease: Lease) -> Settle:
    """Train in a scratch folder that is gone afterwards, and return how to settle the claim."""
    try:
        with Scratch(site.settings.scratch_dir, lease.claim) as scratch:
            return Supervisor(site, lease, scratch).run()
    except OSError as error:  # not even that folder could be made
        failure = _broken(error)
        return lambda session: outcomes.finish_failed(session, lease.claim, failure)


class Supervisor:
    """One trainer, from its start to the settlement that its end calls for."""

    def __init__(self, site: Site, lease: Lease, scratch: Scratch) -> None:
        self._site = site
        self._lease = lease
        self._claim = lease.claim
        self._scratch = scratch
        self._journal = Journal(lease, site.database)
        self._stop_sent_at = 0.0
        self._stop_why = ""

    def run(self) -> Settle:
        """Train, and return how to settle the claim.

        Raises:
            Fenced: another worker owns the job; the trainer is dead.
        """
        try:
            with self._lease.kept():
                child = self._spawn()
            with child:
                self._lease.guard(child)
                return self._drive(child)
        except TrainingFailure as failure:
            return self._stopped(failure)
        except Fenced:
            raise
        except Exception as error:
            log.exception("attempt broke", extra={"job_id": self._claim.job_id})
            return self._stopped(_broken(error))
        finally:
            self._journal.close()

    def _spawn(self) -> Child:
        job = self._prepare()
        self._scratch.write_job(job)
        hit("before_spawn")
        return self._site.fork_server.spawn(
            TARGET, job, limits=self._limits(), directory=self._scratch.directory, log=self._scratch.log
        )

    def _prepare(self) -> dict[str, Any]:
        """Lay out the scratch folder and return the job file's content."""
        resolved = self._claim.resolved
        data = self._data_file(resolved["data"]["dataset"])
        resume = self._restore()
        if resume is None and resolved.get("init_from") is not None:
            self._fetch_weights(resolved["init_from"]["checkpoint"])
        return {
            "job_id": self._claim.job_id,
            "attempt": self._claim.attempt,
            **resolved,
            "failpoint": self._site.settings.failpoint if self._claim.attempt == 1 else "",
            "data": {**resolved["data"], "file": str(data.path), "sha256": data.sha256},
            "device": resolved["resources"]["device"],
            "threads": self._site.settings.trainer_threads,
            "resume": resume,
            "initial_weights": str(self._scratch.initial_weights),
            "output": str(self._scratch.output),
        }

    def _data_file(self, name: str) -> DataFile:
        """Return the file of a built-in data set, or of one of the tenant's own."""
        settings = self._site.settings
        if not name.startswith("ds_"):
            return materialise(name, settings.cache_dir)
        return self._lease.steadily(
            lambda: fetch(
                self._site.database,
                tenant_id=self._claim.tenant_id,
                dataset_id=name,
                cache_dir=settings.cache_dir,
                cache_bytes=settings.dataset_cache_bytes,
            )
        )

    def _restore(self) -> dict[str, Any] | None:
        """Fetch the last sound checkpoint, and forget the metrics that lie after it; a first attempt has neither."""
        if self._claim.attempt == 1:
            return None
        checkpoint, corrupt = self._lease.steadily(
            lambda: restore(self._site.database, job_id=self._claim.job_id, directory=self._scratch.resume)
        )
        step = checkpoint["step"] if checkpoint else 0
        self._lease.write(lambda session: self._journal.rewind(session, step=step, corrupt=corrupt))
        return {"directory": str(self._scratch.resume), "step": step} if checkpoint else None

    def _fetch_weights(self, checkpoint_id: str) -> None:
        """Lay out the weights to begin with; they may have been deleted since the job was submitted."""
        ids = {"tenant_id": self._claim.tenant_id, "checkpoint_id": checkpoint_id}
        path = self._scratch.initial_weights
        try:
            self._lease.steadily(lambda: fetch_weights(self._site.database, **ids, path=path))
        except (NotFound, ChunkCorrupt):
            raise TrainingFailure(
                f"The checkpoint {checkpoint_id} to begin with is gone or damaged.",
                code="checkpoint_gone",
                failure_class="user",
                retryable=False,
                hint="Name another checkpoint in init_from, or leave it out.",
                pointer="/init_from/checkpoint",
            ) from None

    def _limits(self) -> Limits:
        count = self._claim.resolved["resources"].get("processes", 1)
        memory = self._site.settings.trainer_memory_bytes // count
        return Limits(
            memory_bytes=memory,
            open_files=1024,
            processes=self._compiles(),
            siblings=count > 1,
            niceness=TRAINER_NICENESS,
        )

    def _compiles(self) -> bool:
        """Tell whether a compiler may be started: on a GPU, for a static graph; the trainer locks itself after that."""
        static = self._claim.resolved["training"]["execution"] == "static"
        return static and "cuda" in self._site.settings.devices

    def _drive(self, child: Child) -> Settle:
        """Listen, write down, renew, and pass on instructions until the trainer has ended."""
        watchdog = Watchdog(
            stall_seconds=self._site.settings.stall_seconds,
            runtime_seconds=self._claim.resolved["max_runtime_seconds"],
        )
        while True:
            events = child.receive(_LISTEN_SECONDS)
            watchdog.heard(events, listened_seconds=_LISTEN_SECONDS)
            if self._journal.record(events):
                return self._ended(self._journal.last)
            if child.ended:
                return self._died(child)
            self._lease.pulse()
            self._instruct(child)
            watchdog.check(paused_seconds=self._lease.paused_seconds)

    def _instruct(self, child: Child) -> None:
        """Tell the trainer to stop where that was asked for; kill one that does not."""
        control = self._lease.control
        if control.cancel_requested and self._stop_why != "cancel":
            self._send_stop(child, "cancel")
        elif not self._stop_why and (control.pause_requested or self._site.draining()):
            self._send_stop(child, "pause")
        elif self._stop_why and time.monotonic() - self._stop_sent_at > _GRACE_SECONDS[self._stop_why]:
            child.kill()

    def _send_stop(self, child: Child, command: str) -> None:
        self._stop_sent_at, self._stop_why = time.monotonic(), command
        child.send({"command": command})

    def _ended(self, event: dict[str, Any]) -> Settle:
        """Return the settlement for the trainer's own last word."""
        claim, outcome = self._claim, event.get("outcome")
        if event["event"] == "failed":
            return self._failed(TrainingFailure.from_dict(event["error"]))
        if outcome == "succeeded":
            reason, pace = event.get("reason"), self._journal.pace
            return lambda session: outcomes.finish_succeeded(session, claim, reason=reason, pace=pace)
        if outcome == "cancelled":
            return lambda session: outcomes.finish_cancelled(session, claim)
        return lambda session: outcomes.give_back(session, claim, reason="worker_draining")

    def _died(self, child: Child) -> Settle:
        """Return the settlement for a trainer that ended without a last word."""
        claim = self._claim
        exit_ = child.wait(5.0)
        number = exit_.signal if exit_ else None
        if self._stop_why == "pause":
            return lambda session: outcomes.give_back(session, claim, reason="worker_draining")
        log.warning("trainer died", extra={"job_id": claim.job_id, "signal": number, "log": self._scratch.log_tail()})
        how = f"was killed by signal {number}" if number else f"ended with code {exit_.code if exit_ else '?'}"
        failure = TrainingFailure(
            f"The trainer {how} before it had finished.",
            code="trainer_died",
            failure_class="infrastructure",
            retryable=True,
            hint="If this repeats, the machine may be short of memory: try a smaller batch or model.",
        )
        return self._stopped(failure)

    def _stopped(self, failure: TrainingFailure) -> Settle:
        """Say in the job's log why the attempt was ended, which the trainer cannot, and return the settlement.

        What keeps the line from being written (a full disk, say) keeps nobody from settling.
        """
        try:
            self._journal.record([{"event": "failed", "error": failure.to_dict()}])
        except Fenced:
            raise
        except Exception:
            log.exception("no line in the job's log", extra={"job_id": self._claim.job_id})
        return self._failed(failure)

    def _failed(self, failure: TrainingFailure) -> Settle:
        return lambda session: outcomes.finish_failed(session, self._claim, failure)


def _broken(error: Exception) -> TrainingFailure:
    """Return the failure of an attempt that broke in our own hands; its traceback is in the worker's log."""
    if isinstance(error, StorageFull):
        return storage_full("There is no room left in the database to store what training made.")
    if is_disk_full(error):
        return storage_full("There is no room left on the worker's disk.")
    detail = error.detail if isinstance(error, ModelwrightError) else "The worker could not run this attempt."
    return TrainingFailure(
        detail, code="worker_error", failure_class="infrastructure", retryable=True, hint="The job is tried again."
    )
