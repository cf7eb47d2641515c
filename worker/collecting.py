"""Collects garbage beside the recovery, in a thread, so that a slow object store delays nobody."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import DBAPIError

from services.config import Settings
from services.db.engine import is_outage
from services.storage.place import open_database
from worker.recovery import collect, collect_objects, forget

log = logging.getLogger(__name__)


class Collector:
    """One thread at most, that ends when it is done for now; it remembers how far it has looked through the objects."""

    def __init__(self, settings: Settings) -> None:
        self._database = open_database(settings, pool_size=1)
        self._audit_days = settings.audit_days
        self._thread: threading.Thread | None = None
        self._after: str | None = None

    def tick(self) -> None:
        """Begin, unless the last one is still at it."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="collect", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait for the thread and close what it used."""
        if self._thread is not None:
            self._thread.join()
        self._database.close()

    def _work(self) -> None:
        try:
            collect(self._database)
            forget(self._database, audit_days=self._audit_days)
            self._after = collect_objects(self._database, after=self._after)
        except DBAPIError as error:
            if not is_outage(error):
                raise
            log.warning("nothing is collected while the database is away: %s", error.orig)
