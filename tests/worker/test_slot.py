"""A slot looks for work without being told, whatever its last look came to."""

from __future__ import annotations

import threading
from dataclasses import replace

from services.errors import Unavailable
from tests.stack import until
from worker import slot
from worker.slot import Slot


def test_the_poll_goes_on_whatever_a_look_raised(settings, monkeypatch):
    looks = []

    def broken(*_, **__):
        looks.append(threading.current_thread())
        raise Unavailable

    polling = Slot(replace(settings, database_poll_seconds=0.01), worker_id="wrk_x", draining=lambda: False)
    monkeypatch.setattr(polling, "work", broken)
    monkeypatch.setattr(slot, "sweep", broken)
    thread = threading.Thread(target=polling._poll)
    thread.start()
    until(lambda: len(looks) >= 4 or not thread.is_alive(), seconds=60)
    polling._closed.set()
    thread.join(60)
    polling._site.database.close()
    assert len(looks) >= 4
