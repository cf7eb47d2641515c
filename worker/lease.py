"""Keeping a claim alive: renewals, the owner's instructions, and patience while PostgreSQL is away."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.config import Settings
from services.db.engine import Database, is_full, is_outage
from services.errors import Fenced, StorageFull, StoreUnavailable, TrainingFailure
from services.jobs.claims import Claim, Control, mark_written, read_control, renew, was_written

KEPT_SECONDS = 15 * 60.0
"""Preparing an attempt, or hashing one checkpoint, that takes longer than this is taken for a hang."""
_RETRY_SECONDS = 0.5

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Pausable(Protocol):
    """What is stopped while nobody can say whether the claim still holds."""

    def pause(self) -> None:
        """Stop where it is."""

    def resume(self) -> None:
        """Go on."""


class Lease:
    """The claim on one job. Call ``pulse`` often; it talks to the database only when something is due."""

    def __init__(self, database: Database, claim: Claim, settings: Settings) -> None:
        self.claim = claim
        self.control = Control(cancel_requested=False, pause_requested=False)
        self._database = database
        self._settings = settings
        self._child: Pausable | None = None
        self._paused = False
        self._paused_at = 0.0
        self._renewed = self._looked = time.monotonic()
        self.paused_seconds = 0.0
        """How long the trainer was stopped because the lease was in doubt."""

    def guard(self, child: Pausable) -> None:
        """Pause ``child`` whenever the lease is in doubt."""
        self._child = child

    def pulse(self) -> None:
        """Renew the lease and read the instructions, if due.

        Raises:
            Fenced: another worker owns the job, or PostgreSQL was away for too long.
        """
        now = time.monotonic()
        if now - self._renewed >= self._settings.renew_seconds:
            self.steadily(self._renew)
        if now - self._looked >= self._settings.control_poll_seconds:
            self.steadily(self._look)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew from a thread while the block runs, for work that cannot call ``pulse``; `KEPT_SECONDS` at most."""
        done = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(done,), name="lease-keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def write(self, action: Callable[[Session], Result], *, when_full: bool = False) -> Result:
        """Run ``action`` in a transaction, once: it is repeated while PostgreSQL is away, but not if it was committed.

        Args:
            when_full: go on trying where PostgreSQL's disk is full, too.

        Raises:
            Fenced: as `pulse`.
            StorageFull: as `steadily`.
        """
        mark, done = secrets.token_hex(8), list[Result]()

        def once() -> Result:
            with self._database.session() as session:
                if done and was_written(session, self.claim, mark):
                    return done[0]
                done[:] = [action(session)]
                mark_written(session, self.claim, mark)
            return done[0]

        return self.steadily(once, when_full=when_full)

    def steadily(self, action: Callable[[], Result], *, when_full: bool = False) -> Result:
        """Run ``action``, which talks to the database, and repeat it while PostgreSQL or the object store is away.

        Raises:
            Fenced: as `pulse`.
            StorageFull: PostgreSQL's disk is full, and not ``when_full``.
            TrainingFailure: the object store is away, and the job is to end.
        """
        away_since: float | None = None
        while True:
            try:
                if self._paused or (away_since and time.monotonic() - self._renewed >= self._settings.renew_seconds):
                    self._renew()
                result = action()
            except DBAPIError as error:
                if is_full(error) and not when_full:
                    raise StorageFull() from error
                self._endure(error)
            except StoreUnavailable as error:
                away_since = away_since or time.monotonic()
                self._endure_store(error, seconds=time.monotonic() - away_since)
            else:
                self._unpause()
                return result

    def _renew(self) -> None:
        started = time.monotonic()
        with self._database.session() as session:
            renew(session, self.claim, lease_seconds=self._settings.lease_seconds)
        self._renewed = started

    def _keep(self, done: threading.Event) -> None:
        end = time.monotonic() + KEPT_SECONDS
        while not done.wait(self._settings.renew_seconds) and time.monotonic() < end:
            try:
                self._renew()
            except (Fenced, DBAPIError) as error:  # the next `pulse` or `write` meets it again and acts on it
                log.warning("lease not renewed: %s", error, extra={"job_id": self.claim.job_id})

    def _look(self) -> None:
        with self._database.read_session() as session:
            self.control = read_control(session, self.claim)
        self._looked = time.monotonic()

    def _endure(self, error: DBAPIError) -> None:
        """Wait a moment; stop the trainer while the lease is in doubt; give up in the end."""
        if not is_outage(error):
            raise error
        silent = time.monotonic() - self._renewed
        log.warning("database unavailable for %.0f s: %s", silent, error.orig, extra={"job_id": self.claim.job_id})
        if silent > self._settings.outage_seconds:
            raise Fenced("PostgreSQL was away for too long; the lease is lost.") from error
        if silent > self._settings.lease_seconds * 0.75 and self._child is not None and not self._paused:
            self._pause(self._child)
        time.sleep(_RETRY_SECONDS)

    def _endure_store(self, error: StoreUnavailable, *, seconds: float) -> None:
        """Wait a moment with the claim kept, however long it takes; soon with the trainer stopped: what is it to do?"""
        log.warning("object store away for %.0f s: %s", seconds, error.detail, extra={"job_id": self.claim.job_id})
        if seconds > self._settings.lease_seconds * 0.75 and self._child is not None and not self._paused:
            self._pause(self._child)
        with suppress(DBAPIError):  # the next renewal meets it again
            self._look()
        if self.control.cancel_requested:
            raise TrainingFailure(
                error.detail, code="storage_unavailable", failure_class="infrastructure", retryable=True
            ) from error
        time.sleep(_RETRY_SECONDS)

    def _pause(self, child: Pausable) -> None:
        child.pause()
        self._paused = True
        self._paused_at = time.monotonic()

    def _unpause(self) -> None:
        if self._paused and self._child is not None:
            self._child.resume()
            self._paused = False
            self.paused_seconds += time.monotonic() - self._paused_at
