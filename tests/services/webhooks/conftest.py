"""A receiver, settings that allow it, and a world in which webhooks are delivered when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text

from services.config import Settings
from services.db.engine import Database
from services.db.models import Job
from services.jobs.states import transition
from services.webhooks import deliveries, service
from services.webhooks.delivery import deliver, take_turn
from tests.factories import add_job
from tests.receiver import HOST, Receiver, leads_to, receiving


@pytest.fixture(scope="module")
def running_receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receiving(tmp_path_factory.mktemp("receiver")) as opened:
        yield opened


@pytest.fixture
def receiver(running_receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """The receiver, well, under a name that leads to it."""
    running_receiver.reset()
    leads_to(monkeypatch, "127.0.0.1", port=running_receiver.port)
    return running_receiver


@dataclass
class World:
    """A tenant, the database, and the settings of whoever delivers."""

    database: Database
    tenant_id: str
    settings: Settings

    def webhook(self, url: str, *events: str, **members: Any) -> str:
        body = {"url": url, "events": list(events or ("*",)), **members}
        with self.database.session() as session:
            made = service.create(session, tenant_id=self.tenant_id, body=body, settings=self.settings)
        return str(made.webhook["id"])

    def look(self, webhook_id: str) -> dict[str, Any]:
        with self.database.read_session() as session:
            return service.get_webhook(session, tenant_id=self.tenant_id, webhook_id=webhook_id)

    def change(self, webhook_id: str, **members: Any) -> dict[str, Any]:
        with self.database.session() as session:
            return service.change(
                session, tenant_id=self.tenant_id, webhook_id=webhook_id, body=members, settings=self.settings
            )

    def log(self, webhook_id: str, *states: str) -> list[dict[str, Any]]:
        """Return the deliveries, oldest first."""
        with self.database.read_session() as session:
            page = deliveries.list_deliveries(
                session, tenant_id=self.tenant_id, webhook_id=webhook_id, limit=100, states=states
            )
        return page.data[::-1]

    def job(self, *states: str, **columns: Any) -> str:
        """Make a job and move it through states."""
        job_id = add_job(self.database, self.tenant_id, **columns)
        self.move(job_id, *states)
        return job_id

    def move(self, job_id: str, *states: str) -> None:
        for state in states:
            with self.database.session() as session:
                job = session.get(Job, job_id, with_for_update=True)
                assert job is not None
                transition(session, job, state)

    def turn(self, settings: Settings | None = None) -> bool:
        """Take one turn; False if none is due."""
        with self.database.session() as session:
            turn = take_turn(session)
        if turn is not None:
            deliver(self.database, turn, settings or self.settings)
        return turn is not None

    def run(self, turns: int = 50) -> int:
        """Take turns until none is due."""
        return sum(1 for _ in range(turns) if self.turn())


@pytest.fixture
def world(database: Database, tenant_id: str, receiver: Receiver, settings: Settings) -> World:
    """Nobody else's webhooks, and no pause between tries."""
    with database.session() as session:
        session.execute(text("DELETE FROM webhook"))
    allowing = replace(
        settings,
        webhook_hosts=(f"{HOST}:{receiver.port}",),
        remote_networks=("127.0.0.0/8",),
        remote_ca_file=receiver.ca_file,
        webhook_retry_seconds=0.0,
    )
    return World(database, tenant_id, allowing)
