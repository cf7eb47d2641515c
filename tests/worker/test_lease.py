"""A claim kept alive over connections that break: each write happens once, whatever its commit's answer was."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from modelwright.server.postgres import PostgresServer
from services.config import Settings
from services.db.engine import Database
from services.errors import StorageFull
from services.jobs import repository
from services.jobs.claims import lock_claimed
from services.jobs.states import add_event
from services.metrics import service as metrics
from tests.factories import add_job, claim
from tests.faults.proxy import Proxy
from worker import recovery
from worker.lease import Lease
from worker.watchdog import STALL_STEPS, Watchdog


@dataclass
class Cut:
    """The module's database through a proxy."""

    proxy: Proxy
    database: Database


@pytest.fixture
def cut_off(postgres: PostgresServer, database_url: str) -> Iterator[Cut]:
    folder, name = parse_qs(urlsplit(postgres.url).query)["host"][0], urlsplit(database_url).path
    with Proxy(Path(folder) / ".s.PGSQL.5432") as proxy:
        opened = Database(f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}{name}?sslmode=disable")
        yield Cut(proxy, opened)
        opened.close()


@pytest.mark.parametrize("delivered", [True, False], ids=["answer lost", "request lost"])
def test_a_write_whose_commit_was_cut_off_is_made_once(
    cut_off: Cut, database: Database, tenant_id: str, settings: Settings, delivered: bool
) -> None:
    job_id = add_job(database, tenant_id, priority=100)
    lease = Lease(cut_off.database, claim(database), settings)
    runs: list[int] = []

    def note(session: Session) -> str:
        runs.append(1)
        add_event(session, lock_claimed(session, lease.claim), "test.noted", {"run": len(runs)})
        return "done"

    assert lease.write(note) == "done"  # opens the connection
    cut_off.proxy.cut_at(b"COMMIT", delivered=delivered)
    assert lease.write(note) == "done"
    assert len(runs) == 2 if delivered else len(runs) == 3
    with database.read_session() as session:
        noted = [event for event in repository.events(session, job_id=job_id) if event.type == "test.noted"]
    assert len(noted) == 2


def test_a_full_database_is_told_at_once_and_endured_by_the_last_write(
    database: Database, tenant_id: str, settings: Settings
) -> None:
    add_job(database, tenant_id, priority=100)
    lease = Lease(database, claim(database), settings)
    raised: list[int] = []

    def full(session: Session) -> str:
        if len(raised) < 2:
            raised.append(1)
            session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$"))
        return "done"

    with pytest.raises(StorageFull):
        lease.write(full)
    assert lease.write(full, when_full=True) == "done"
    assert len(raised) == 2


def _lock(session: Session, job_id: str) -> None:
    session.execute(text("SELECT 1 FROM job WHERE id = :id FOR UPDATE"), {"id": job_id})


def _write_metrics(session: Session, job_id: str) -> None:
    _lock(session, job_id)
    points = {f"train/{name}": {"steps": [1, 2], "values": [0.5, 0.25]} for name in ("loss", "accuracy")}
    metrics.write_points(session, job_id=job_id, points=points)


@pytest.mark.parametrize("write", [_lock, _write_metrics])
def test_a_process_that_freezes_within_a_transaction_does_not_keep_its_job_for_ever(
    database: Database, database_url: str, tenant_id: str, write: Callable[[Session, str], None]
) -> None:
    job_id = add_job(database, tenant_id, priority=100)
    claim(database, lease_seconds=-1)
    worker = Database(database_url, idle_transaction_seconds=0.5)
    locked, woken = threading.Event(), threading.Event()

    def freeze() -> None:
        with pytest.raises(Exception, match=r"terminat|closed|lost"), worker.session() as session:
            write(session, job_id)
            locked.set()
            woken.wait(60)
            session.execute(text("SELECT 1"))

    sleeper = threading.Thread(target=freeze)
    sleeper.start()
    assert locked.wait(60)
    deadline = time.monotonic() + 60
    swept = recovery.sweep(database)
    while not swept and time.monotonic() < deadline:
        time.sleep(0.05)
        swept = recovery.sweep(database)
    woken.set()
    sleeper.join(60)
    worker.close()
    assert swept == 1


def test_nothing_is_swept_so_soon_after_a_start_of_postgresql(database: Database, tenant_id: str) -> None:
    add_job(database, tenant_id, priority=100)
    claim(database, lease_seconds=-1)
    assert recovery.sweep(database, grace_seconds=86_400) == 0
    assert recovery.sweep(database) >= 1


def test_a_trainer_may_be_silent_for_ten_of_its_steps() -> None:
    from services.errors import TrainingFailure

    watchdog = Watchdog(stall_seconds=300, runtime_seconds=3600)
    watchdog.heard([], listened_seconds=300)
    watchdog.check(paused_seconds=0)
    watchdog.heard([{"event": "metrics", "steps_per_second": 0.01}], listened_seconds=0)
    watchdog.heard([], listened_seconds=STALL_STEPS * 100)
    watchdog.check(paused_seconds=0)
    watchdog.heard([], listened_seconds=1)
    with pytest.raises(TrainingFailure) as failure:
        watchdog.check(paused_seconds=0)
    assert failure.value.code == "stalled"


def test_the_time_for_which_a_trainer_was_frozen_is_not_held_against_it() -> None:
    from services.errors import TrainingFailure

    watchdog = Watchdog(stall_seconds=300, runtime_seconds=-120)
    watchdog.check(paused_seconds=600)
    with pytest.raises(TrainingFailure) as failure:
        watchdog.check(paused_seconds=0)
    assert failure.value.code == "timeout"
