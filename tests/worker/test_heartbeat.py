"""A slot says that it is there, that it drains, and that it goes; and what its worker is."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from services.identifiers import new_id
from services.workers.queries import get_worker, list_workers
from services.workers.registry import SlotFacts
from tests.stack import until
from worker import heartbeat
from worker.about import describe
from worker.heartbeat import Heartbeat


@pytest.fixture
def worker_id(database):
    return new_id("wrk")


def found(database, worker_id):
    with database.read_session() as session:
        pages = list_workers(session, tenant_id="ten", limit=100).data
    return next((worker for worker in pages if worker["id"] == worker_id), None)


def test_a_slot_is_in_the_registry_from_its_start_to_its_end(database, worker_id):
    drains = threading.Event()
    about = describe(["cpu"], gpus=0, cores=4)
    beats = Heartbeat(database, SlotFacts(f"{worker_id}/1", worker_id, ["cpu"], about), draining=drains.is_set)
    beats.start()
    until(lambda: found(database, worker_id), seconds=60)
    with database.read_session() as session:
        worker = get_worker(session, tenant_id="ten", worker_id=worker_id)
    assert (worker["state"], worker["slots"], worker["device"]["count"]) == ("idle", 1, 4)
    drains.set()
    until(lambda: found(database, worker_id)["draining"], seconds=60)
    beats.close()
    assert found(database, worker_id) is None


def test_it_beats_again_and_again(database, worker_id, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "_LOOK_SECONDS", 0.01)
    beats = Heartbeat(database, SlotFacts(f"{worker_id}/1", worker_id, ["cpu"], {}), draining=lambda: False)
    beats.start()
    until(lambda: found(database, worker_id), seconds=60)
    first = found(database, worker_id)["last_seen_at"]
    until(lambda: found(database, worker_id)["last_seen_at"] > first, seconds=60)
    beats.close()


def test_one_that_the_database_refuses_is_not_the_last(database, worker_id, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "_LOOK_SECONDS", 0.01)
    real, refused = heartbeat.beat, []

    def beat(session, facts, *, draining):
        if len(refused) < 2:
            refused.append(session.execute(text("SET TRANSACTION READ ONLY")))  # as a standby is
        real(session, facts, draining=draining)

    monkeypatch.setattr(heartbeat, "beat", beat)
    beats = Heartbeat(database, SlotFacts(f"{worker_id}/1", worker_id, ["cpu"], {}), draining=lambda: False)
    beats.start()
    until(lambda: found(database, worker_id), seconds=60)
    beats.close()


def test_a_worker_knows_its_versions_and_its_device_without_torch():
    about = describe(["cuda", "cpu"], gpus=2, cores=8)
    assert {"python", "torch", "modelwright"} <= about["versions"].keys()
    assert (about["device"]["type"], about["device"]["count"]) == ("cuda", 2)
    assert describe(["cpu"], gpus=0, cores=8)["device"]["type"] == "cpu"
