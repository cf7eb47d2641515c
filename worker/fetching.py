"""Runs the fetches of data sets beside the recovery, in threads, so that a slow server of others delays nobody."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import DBAPIError

from services.config import Settings
from services.datasets.reader import Reader
from services.datasets.remote_fetch import fetch_next
from services.db.engine import is_outage
from services.storage.place import open_database

AT_ONCE = 4

log = logging.getLogger(__name__)


class Fetcher:
    """Up to `AT_ONCE` threads that end when nothing is due; a process that dies leaves the rest to the next one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = open_database(settings, pool_size=AT_ONCE)
        self._reader = Reader(settings)
        self._threads: list[threading.Thread] = []

    def tick(self) -> None:
        """Begin one more thread if there is room: it looks for work, and goes on while there is some."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) < AT_ONCE:
            thread = threading.Thread(target=self._work, name="fetch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Wait for the threads and close what they used."""
        for thread in self._threads:
            thread.join()
        self._reader.close()
        self._database.close()

    def _work(self) -> None:
        try:
            while fetch_next(self._database, self._settings, self._reader):
                pass
        except DBAPIError as error:
            if not is_outage(error):
                raise
            log.warning("no fetch while the database is away: %s", error.orig)
