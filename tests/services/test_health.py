"""How an object store is: asked by one at a time, not for everybody, and never waited for."""

import socket
import threading
from contextlib import closing

import pytest

from services import health
from services.health import StoreProbe
from services.s3_settings import ObjectPlace, S3Access
from services.storage.objects import ObjectStore
from tests.stack import until


class Store(ObjectStore):
    """A store of which each question is counted, and answered when the test lets it be."""

    def __init__(self, trouble=None):
        self.asked, self.trouble, self.answers = 0, trouble, threading.Event()

    def reach(self):
        self.asked += 1
        assert self.answers.wait(60)
        return self.trouble


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (None, "ok", "The object store answers."),
        ("away", "degraded", "does not answer"),
        ("denied", "degraded", "refuses our key"),
        ("not_found", "degraded", "has no such bucket"),
        ("other", "degraded", "refuses what we ask"),
    ],
)
def test_what_is_wrong_is_said_and_for_some_seconds_nobody_asks_again(trouble, status, words, monkeypatch):
    store = Store(trouble)
    store.answers.set()
    probe = StoreProbe(store)
    first = probe.look()
    assert (first.status, words in first.detail, probe.look(), store.asked) == (status, True, first, 1)
    monkeypatch.setattr(health, "STORE_FRESH_SECONDS", -1)
    store.trouble = None
    assert (probe.look().status, store.asked) == ("ok", 2)


def test_while_one_asks_a_store_that_hangs_the_others_are_told_and_ask_nothing(monkeypatch):
    monkeypatch.setattr(health, "REACH_SECONDS", 0.01)
    store = Store()
    probe = StoreProbe(store)
    asking = threading.Thread(target=probe.look)
    asking.start()
    until(lambda: store.asked, seconds=60)
    assert probe.look() == probe.look() == health.Component("degraded", "The object store has not answered yet.")
    store.answers.set()
    asking.join()
    assert (probe.look().status, store.asked) == ("ok", 1)


def test_a_server_that_takes_the_connection_and_says_nothing_is_away():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        access = S3Access(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", access_key_id="a", secret_access_key="b"
        )
        with closing(ObjectStore(ObjectPlace("chunks-of-all", "", access))) as store:
            assert store.reach() == "away"
