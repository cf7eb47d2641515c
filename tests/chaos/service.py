"""The whole service as processes of its own over servers of its own, each kept running, none of them spared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services.db.engine import Database
from services.db.migrate import migrate
from tests.chaos import history
from tests.stack import ROOT, family, free_port

_STANDING = "SELECT id, state, owner, epoch, crashes, barren_attempts FROM job WHERE finished_at IS NULL"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one unfinished job stands."""

    job_id: str
    state: str
    owner: int | None
    epoch: int
    crashes: int
    barren: int


@dataclass
class Kept:
    """A program that is started again whenever it has ended, as a container's restart policy would."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def keep(self) -> None:
        """Start it unless it runs."""
        if self.process is None or self.process.poll() is not None:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, *self.arguments],
                    env=self.environment,
                    cwd=ROOT,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            self.starts += 1

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None


@dataclass
class Service:
    """``start``, use, ``stop``. Leases and intervals are the product's own unless ``settings`` says otherwise."""

    directory: Path
    workers: int = 4
    slots: int = 2
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.postgres = PostgresServer(self.directory / "postgres")
        self.valkey = ValkeyServer(self.directory / "valkey")
        self.kept: dict[str, Kept] = {}
        self.key = ""
        self.port = free_port()
        self._back_at: dict[PostgresServer | ValkeyServer, float] = {}
        self._stopped = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        """The database, as SQLAlchemy spells it."""
        return self.postgres.url.replace("postgresql://", "postgresql+psycopg://", 1)

    def start(self) -> None:
        """Start the servers and all programs."""
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        self.postgres.start()
        self.valkey.start()
        migrate(self.database_url)
        history.install(self.database_url)
        self.database = Database(self.database_url, pool_size=2)
        environment = {
            **os.environ,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.valkey.url,
            "MODELWRIGHT_DATA_DIR": str(self.directory / "data"),
            "MODELWRIGHT_DEVICES": "cpu",
            **self.settings,
        }
        bootstrap = ["-m", "services.tenants.bootstrap", "--tenant", "default", "--print-key"]
        made = subprocess.run(
            [sys.executable, *bootstrap], env=environment, cwd=ROOT, check=True, capture_output=True, text=True
        )
        self.key = json.loads(made.stdout)["api_key"]
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log"]
        programs = {"api": ["-m", "uvicorn", "api.main:app", *options], "scheduler": ["-m", "worker.scheduler"]}
        programs |= {f"worker{n}": ["-m", "worker", "--slots", str(self.slots)] for n in range(self.workers)}
        for name, arguments in programs.items():
            self.kept[name] = Kept(name, arguments, environment, self.directory / "logs" / f"{name}.log")
        self._keeper.start()

    def stop(self) -> None:
        """End everything."""
        self._stopped.set()
        self._keeper.join(10)
        members = [member for kept in self.kept.values() if kept.pid for member in family(kept.pid)]
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        for kept in self.kept.values():
            if kept.process is not None:
                kept.process.wait(10)
        self.database.close()
        self.valkey.stop()
        self.postgres.stop()

    def standings(self) -> dict[str, Standing] | None:
        """Return how each unfinished job stands, by id; None while the database is away."""
        try:
            with self.database.read_session() as session:
                rows = session.execute(text(_STANDING)).all()
        except DBAPIError:
            return None
        return {row[0]: Standing(row[0], row[1], _pid(row[2]), row[3], row[4], row[5]) for row in rows}

    def kill_postgres(self, away_seconds: float) -> None:
        """Kill every process of the server at once; it is started again so much later. Returns when it runs."""
        members = family(self.postgres.pid) if self.postgres.pid else []
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.postgres.kill()  # waits until it is dead: what the keeper starts is not what is killed here
        self._bring_back(self.postgres, away_seconds)

    def kill_redis(self, away_seconds: float) -> None:
        """Kill Redis; it is started again, empty, so much later. Returns when it runs."""
        self.valkey.kill()
        self._bring_back(self.valkey, away_seconds)

    def _bring_back(self, server: PostgresServer | ValkeyServer, away_seconds: float) -> None:
        """Have the keeper start a dead server again, and wait until it has."""
        self._back_at[server] = time.monotonic() + away_seconds
        while server in self._back_at and not self._stopped.wait(0.1):
            pass

    def _keep(self) -> None:
        """From the first thread to the last: the kernel ends a server when the thread that started it ends."""
        while not self._stopped.wait(0.25):
            for kept in self.kept.values():
                kept.keep()
            for server, back_at in list(self._back_at.items()):
                if time.monotonic() >= back_at:
                    server.start()
                    del self._back_at[server]


def _pid(owner: str | None) -> int | None:
    return int(owner.rsplit("/", 1)[1]) if owner else None
