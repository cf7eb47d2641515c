"""The thread of the scheduler that moves sweeps on: when it is rung, and every few seconds anyway.

A thread of its own, because checking a trial's model may take seconds, and a recovery that is due must not wait.
No torch here: models are tried in children of a fork server, which is started when there is a trial to check.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy.exc import DBAPIError

from services.config import Settings
from services.db.engine import is_outage
from services.preflight import Preflight
from services.queue import Doorbell
from services.storage.place import open_database
from services.sweeps import repository
from services.sweeps.driver import Means, advance

LOOK_SECONDS = 2.0
IDLE_SECONDS = 120.0
"""After so long without a trial to check the fork server, which holds torch in memory, is ended."""

log = logging.getLogger(__name__)


class SweepDriver:
    """Any number of these may run, in any number of processes: each step is taken by one of them."""

    def __init__(self, settings: Settings) -> None:
        self._rung = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep-driver", daemon=True)
        self._settings = settings
        self._preflight: Preflight | None = None
        self._used_at = 0.0
        self._means = Means(
            database=open_database(settings, pool_size=1),
            settings=settings,
            doorbell=Doorbell(settings.redis_url),
            preflight=self._warm_preflight,
        )

    def start(self) -> None:
        """Begin to look after sweeps."""
        self._thread.start()

    def ring(self) -> None:
        """Say that there is something to do."""
        self._rung.set()

    def close(self) -> None:
        """Stop after the step that is being made; nothing is lost if there is no time for that."""
        self._closed.set()
        self._rung.set()
        self._thread.join(self._settings.preflight_timeout_seconds)
        self._end_preflight()
        self._means.doorbell.close()
        self._means.database.close()

    def look(self) -> bool:
        """Move every sweep on by what can be done now; return whether there may be more to do at once."""
        with self._means.database.read_session() as session:
            sweeps = repository.active(session)
        more = [self._advance(sweep_id) for sweep_id in sweeps if not self._closed.is_set()]
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._end_preflight()
        return any(more)

    def _run(self) -> None:
        more = False
        while not self._closed.is_set():
            if not more:
                self._rung.wait(LOOK_SECONDS)
            self._rung.clear()
            try:
                more = self.look()
            except DBAPIError as error:
                more = False
                if not is_outage(error):
                    log.exception("sweeps not looked after")
                else:
                    log.warning("no look after sweeps while the database is away: %s", error.orig)
                self._closed.wait(LOOK_SECONDS)

    def _advance(self, sweep_id: str) -> bool:
        """Advance one sweep; whatever is wrong with it does not keep the others waiting."""
        try:
            return advance(self._means, sweep_id=sweep_id)
        except DBAPIError as error:
            if is_outage(error):
                raise
            log.exception("sweep not advanced", extra={"sweep_id": sweep_id})
        except Exception:
            log.exception("sweep not advanced", extra={"sweep_id": sweep_id})
        return False

    def _warm_preflight(self) -> Preflight:
        if self._preflight is None:
            self._preflight = Preflight(self._settings)
        self._used_at = time.monotonic()
        return self._preflight

    def _end_preflight(self) -> None:
        if self._preflight is not None:
            self._preflight.close()
            self._preflight = None
