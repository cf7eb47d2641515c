"""The threads of the scheduler that deliver webhooks: a slow receiver holds one of them, and nobody else."""

from __future__ import annotations

import logging
import threading

from sqlalchemy.exc import DBAPIError

from services.config import Settings
from services.db.engine import Database, is_outage
from services.webhooks.delivery import Turn, deliver, take_turn

AT_ONCE = 8
LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class WebhookDriver:
    """Any number of these may run, in any number of processes: each turn at a webhook is taken by one of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.database_url, pool_size=AT_ONCE)
        self._closed = threading.Event()
        self._free = threading.Semaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []
        self._looker = threading.Thread(target=self._run, name="webhook-driver", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._looker.start()

    def close(self) -> None:
        """Stop after the tries that are being made; what is left is delivered by the next process."""
        self._closed.set()
        self._looker.join()
        for thread in self._threads:
            thread.join()
        self._database.close()

    def look(self) -> int:
        """Begin every turn that is due and for which there is a thread; return how many."""
        begun = 0
        while not self._closed.is_set() and self._free.acquire(blocking=False):
            turn = None
            try:
                with self._database.session() as session:
                    turn = take_turn(session)
            finally:
                if turn is None:
                    self._free.release()
            if turn is None:
                break
            self._begin(turn)
            begun += 1
        return begun

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            try:
                self.look()
            except DBAPIError as error:
                _tell(error)

    def _begin(self, turn: Turn) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._work, args=(turn,), name="webhook", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, turn: Turn) -> None:
        try:
            deliver(self._database, turn, self._settings, stopping=self._closed.is_set)
        except DBAPIError as error:
            _tell(error)
        except Exception:
            log.exception("webhook turn broke", extra={"webhook_id": turn.webhook_id})
        finally:
            self._free.release()


def _tell(error: DBAPIError) -> None:
    if is_outage(error):
        log.warning("no webhooks while the database is away: %s", error.orig)
    else:
        log.error("webhooks not looked after", exc_info=error)
