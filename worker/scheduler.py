"""Start the scheduler: Celery beat and the small worker that does what it says (``python -m worker.scheduler``)."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Protocol

from celery.signals import beat_embedded_init, worker_process_init, worker_ready, worker_shutdown, worker_shutting_down

from services.queue import MAINTENANCE_QUEUE, RING_SWEEPS
from worker import tasks
from worker.app import app, settings
from worker.orphans import die_with_main
from worker.sweeps import SweepDriver
from worker.webhooks import WebhookDriver

_BEAT_SECONDS = 1.0
log = logging.getLogger(__name__)
_drivers: list[SweepDriver] = []
"""The one of this process, once it is the scheduler."""
_webhooks: list[WebhookDriver] = []
_ending = threading.Event()
"""Set once this process was told to stop, and beat with it."""


def main() -> None:
    """Run beat together with a worker for the maintenance queue, so that no training job delays a recovery."""
    worker_process_init.disconnect(tasks.open_slot)  # no training here: no fork server, no claims
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--beat", "--pool=solo", "--concurrency=1", f"--queues={MAINTENANCE_QUEUE}", *quiet])


class _Beat(Protocol):
    """Celery's process that says when."""

    def is_alive(self) -> bool:
        """Whether it runs."""

    def join(self, timeout: float) -> None:
        """Wait for its end."""


class _Controller(Protocol):
    beat: _Beat


class _Consumer(Protocol):
    controller: _Controller


@app.task(name=RING_SWEEPS)  # type: ignore[untyped-decorator]  # celery ships no types
def ring_sweeps() -> None:
    """Have sweeps looked after at once."""
    for driver in _drivers:
        driver.ring()


@worker_ready.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _start_driver(sender: _Consumer, **_: object) -> None:
    """Not before: beat's process is forked by then, and holds no copy of the driver's connections."""
    _drivers.append(SweepDriver(settings))
    _drivers[0].start()
    _webhooks.append(WebhookDriver(settings))
    _webhooks[0].start()
    threading.Thread(target=_end_with, args=(sender.controller.beat,), name="beat-watch", daemon=True).start()


def _end_with(beat: _Beat) -> None:
    """End this process when beat has died, so that whoever keeps it running starts both again.

    Celery does not look after it: without beat this would be a scheduler that never schedules, and looks well.
    """
    while beat.is_alive():
        beat.join(_BEAT_SECONDS)
    if not _ending.is_set():
        log.error("beat has died: the scheduler ends, to be started again")
        os.kill(os.getpid(), signal.SIGTERM)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _note_ending(**_: object) -> None:
    _ending.set()


@worker_shutdown.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _stop_driver(**_: object) -> None:
    for webhooks in _webhooks:
        webhooks.close()
    for driver in _drivers:
        driver.close()


@beat_embedded_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _on_beat_process(**_: object) -> None:
    die_with_main()


if __name__ == "__main__":
    main()
