"""Warm children: kept, found again, replaced, and gone when they are not needed."""

import gc
import threading
from dataclasses import replace

import pytest

from services.config import Settings
from services.errors import InvalidRequest, Unavailable
from services.forkserver.client import ForkServer
from services.predictions import warm as module
from services.predictions.warm import WarmModels
from tests.stack import alive, until

SETTINGS = Settings("", "", prediction_processes=2, prediction_timeout_seconds=5.0, prediction_idle_seconds=30.0)


@pytest.fixture(scope="module")
def server():
    opened = ForkServer(preload=["tests.services.predictions.children"])
    yield opened
    opened.close()


@pytest.fixture
def make(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TARGET", "tests.services.predictions.children:serve")
    made = []

    def make(**changes):
        made.append(WarmModels(replace(SETTINGS, data_dir=tmp_path, **changes), server))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ask(models, key, *, streamed=False, **request):
    """Return the last event of an answer."""
    events = list(models.ask(key, lambda folder: {"model": key}, request, streamed=streamed))
    return events[-1]["end"]


def test_the_next_request_finds_the_model_built(make):
    models = make()
    first, second, other = ask(models, "a"), ask(models, "a"), ask(models, "b")
    assert (first["count"], second["count"], other["count"]) == (1, 2, 1)
    assert first["pid"] == second["pid"] != other["pid"]
    assert other["model"] == "b"


def test_the_one_that_waited_longest_makes_room(make):
    models = make()
    a, b = ask(models, "a"), ask(models, "b")
    ask(models, "a")
    c = ask(models, "c")
    until(lambda: not alive(b["pid"]), seconds=10)
    assert alive(a["pid"])
    assert alive(c["pid"])
    assert ask(models, "a")["count"] == 3


def test_an_idle_child_goes_after_a_while(make):
    models = make(prediction_idle_seconds=0.05)
    pid = ask(models, "a")["pid"]
    until(lambda: not alive(pid), seconds=10)
    assert models._idle == []
    assert ask(models, "a")["count"] == 1


def test_problems_keep_the_child_and_a_death_does_not(make):
    models = make()
    before = ask(models, "a")
    with pytest.raises(InvalidRequest, match="no"):
        ask(models, "a", refuse=True)
    assert ask(models, "a")["pid"] == before["pid"]
    with pytest.raises(InvalidRequest) as caught:  # the one that replaced it died as well
        ask(models, "a", die=True)
    assert caught.value.code == "model_too_large"
    assert ask(models, "a")["count"] == 1
    with pytest.raises(InvalidRequest) as caught:
        list(models.ask("z", lambda folder: {"refuse": True}, {}, streamed=False))
    assert caught.value.code == "invalid_argument"


def test_what_does_not_end_in_time_is_killed_but_a_stream_may_go_on(make):
    models = make(prediction_timeout_seconds=0.6)
    with pytest.raises(InvalidRequest) as caught:
        ask(models, "a", sleep=30)
    assert caught.value.code == "prediction_timeout"
    with pytest.raises(InvalidRequest):
        ask(models, "a", blocks=8, pause=0.2)
    assert ask(models, "a", blocks=8, pause=0.2, streamed=True)["count"] == 1


def test_a_stream_that_nobody_reads_on_frees_its_place(make):
    models = make(prediction_processes=1)
    events = models.ask("a", lambda folder: {"model": "a"}, {"blocks": 1000}, streamed=True)
    assert "block" in next(events)
    del events
    gc.collect()
    assert models._busy == 0
    assert ask(models, "a")["count"] == 1


def test_a_request_beyond_the_last_place_is_told_to_come_back(make, monkeypatch):
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.05)
    models, busy = make(prediction_processes=1), threading.Event()

    def hold():
        for _ in models.ask("a", lambda folder: busy.set() or {"model": "a"}, {"sleep": 1.0}, streamed=False):
            pass

    thread = threading.Thread(target=hold)
    thread.start()
    busy.wait(10)
    with pytest.raises(Unavailable):
        ask(models, "b")
    thread.join()
    assert ask(models, "b")["count"] == 1


def test_nothing_is_left_in_the_scratch_folder(make, tmp_path):
    models = make()

    def prepare(folder):
        (folder / "weights.safetensors").write_bytes(b"0" * 1000)
        return {"model": "a"}

    list(models.ask("a", prepare, {}, streamed=False))
    assert list((tmp_path / "scratch" / "predictions").iterdir()) == []
