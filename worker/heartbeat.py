"""A slot's heartbeat: a thread that keeps its row in the registry of workers fresh."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from services.db.engine import Database, is_outage
from services.workers.registry import BEAT_SECONDS, SlotFacts, beat, leave

_LOOK_SECONDS = 0.5

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats every `BEAT_SECONDS` and at once when draining begins; a database that refuses one is no trouble."""

    def __init__(self, database: Database, facts: SlotFacts, *, draining: Callable[[], bool]) -> None:
        self._database = database
        self._facts = facts
        self._draining = draining
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and take the slot out of the registry."""
        self._closed.set()
        self._thread.join()
        self._try(self._leave)

    def _run(self) -> None:
        due, drained = 0.0, False
        while not self._closed.is_set():
            draining = self._draining()
            if draining != drained or time.monotonic() >= due:
                self._try(self._beat)
                due, drained = time.monotonic() + BEAT_SECONDS, draining
            self._closed.wait(_LOOK_SECONDS)

    def _beat(self) -> None:
        with self._database.session() as session:
            beat(session, self._facts, draining=self._draining())

    def _leave(self) -> None:
        with self._database.session() as session:
            leave(session, owner=self._facts.owner)

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except DBAPIError as error:  # the next one may be heard: a slot that says nothing more counts as lost
            log.log(logging.DEBUG if is_outage(error) else logging.ERROR, "no heartbeat: %s", error.orig)
