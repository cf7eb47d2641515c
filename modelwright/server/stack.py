"""The whole service on one machine: starts everything in order, keeps it running, stops it in the reverse order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelwright import credentials
from modelwright.credentials import Credentials
from modelwright.server import probe
from modelwright.server.keeper import Keeper, Program, Report, Restartable
from modelwright.server.postgres import PostgresServer
from modelwright.server.process import ServerError
from modelwright.server.programs import Programs, check_installed
from modelwright.server.valkey import ValkeyServer

_READY_SECONDS = 120.0
_POLL_SECONDS = 0.05
_UNAUTHORISED = 401


class StopRequested(Exception):
    """The user wants to end before everything was started."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `modelwright up` was told. ``port`` 0 means any free one."""

    directory: Path
    port: int
    slots: int


class Stack:
    """The running service. ``start``, then ``tick`` a few times a second, then ``stop``, whatever happened."""

    def __init__(
        self,
        options: Options,
        *,
        report: Report,
        stopping: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._options = options
        self._report = report
        self._stopping = stopping
        self._outside = dict(os.environ if environment is None else environment)
        self._keepers: list[Keeper] = []

    @property
    def parts(self) -> Mapping[str, Restartable]:
        """What runs, by name, in the order of the start."""
        return {keeper.name: keeper.kept for keeper in self._keepers}

    def start(self) -> Credentials:
        """Start everything and return how to reach it, once it answers.

        Raises:
            ServerError: a part cannot run; the message says which and why.
            StopRequested: ``stopping`` became true on the way.
        """
        check_installed()
        port = probe.choose_port(self._options.port)
        environment = {**self._outside, **self._servers(), **self._settings()}
        programs = Programs(self._options.directory, environment)
        self._say("preparing the database")
        programs.migrate()
        self._say("starting the API, the worker and the scheduler")
        api = programs.api(port)
        self._keep("api", api)
        self._keep("worker", programs.worker(self._options.slots))
        self._keep("scheduler", programs.scheduler())
        self._until_ready(api, port)
        return self._credentials(programs, port)

    def tick(self) -> None:
        """Start again whatever has ended."""
        for keeper in self._keepers:
            keeper.tick()

    def stop(self) -> None:
        """Stop everything that runs: the API first, the database last. A part that does not end is killed."""
        for name in ("api", "worker", "scheduler", "Valkey", "PostgreSQL"):
            if name in self.parts and self.parts[name].running:
                self._report(f"stopping {name}")
            if name in self.parts:
                self.parts[name].stop()

    def kill(self) -> None:
        """Kill everything at once."""
        for keeper in self._keepers:
            keeper.kept.kill()

    def _servers(self) -> dict[str, str]:
        """Start the embedded servers, except those that the environment replaces by outside ones."""
        urls = {}
        if not self._outside.get("DATABASE_URL"):
            self._say("starting PostgreSQL")
            postgres = PostgresServer(self._options.directory / "postgres")
            self._keep("PostgreSQL", postgres)
            urls["DATABASE_URL"] = postgres.url
        if not self._outside.get("REDIS_URL"):
            self._say("starting Valkey")
            valkey = ValkeyServer(self._options.directory / "valkey")
            self._keep("Valkey", valkey)
            urls["REDIS_URL"] = valkey.url
        return urls

    def _settings(self) -> dict[str, str]:
        return {
            "MODELWRIGHT_DATA_DIR": str(self._options.directory),
            "MODELWRIGHT_SLOTS": str(self._options.slots),
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",  # a folder called `services` where the user happens to be is not ours
        }

    def _keep(self, name: str, part: Restartable) -> None:
        keeper = Keeper(name, part, self._report)
        self._keepers.append(keeper)
        keeper.start()

    def _until_ready(self, api: Program, port: int) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while probe.get(port, "/readyz")[0] != 200:
            self._check_stopping()
            if not api.running or time.monotonic() > deadline:
                raise ServerError(f"The API did not start (log: {api.log}):\n{api.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _credentials(self, programs: Programs, port: int) -> Credentials:
        """Return the address and a key that works: the one of the last time, if it still does."""
        file = self._options.directory / credentials.FILE_NAME
        known = credentials.read(file)
        key = known.api_key if known else ""
        if not key or probe.get(port, "/v1/jobs?limit=1", api_key=key)[0] == _UNAUTHORISED:
            key = programs.new_key()
        current = Credentials(f"http://127.0.0.1:{port}", key)
        credentials.write(file, current)
        return current

    def _say(self, what: str) -> None:
        self._check_stopping()
        self._report(what)

    def _check_stopping(self) -> None:
        if self._stopping():
            raise StopRequested
