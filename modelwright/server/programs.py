"""The programs of the service, as command lines: the same ones that docker-compose.yml runs."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelwright.server.keeper import Program
from modelwright.server.process import Command, ServerError, log_tail

_API_STOP_SECONDS = 10.0
_WORKER_STOP_SECONDS = 45.0  # running jobs write a checkpoint, which may take 30 s
_SCHEDULER_STOP_SECONDS = 10.0
_KEPT_LOG_BYTES = 20_000_000
_NEEDED = ("api", "services", "worker", "uvicorn", "celery", "sqlalchemy", "torch", "sklearn")


@dataclass(frozen=True, slots=True)
class Programs:
    """Makes the programs of one installation: ``environment`` is what all of them see."""

    directory: Path
    environment: Mapping[str, str]

    def api(self, port: int) -> Program:
        """The HTTP interface, on the loopback interface."""
        place = ["--host", "127.0.0.1", "--port", str(port), "--timeout-graceful-shutdown", "5", "--no-server-header"]
        return self._program("api", ["-m", "uvicorn", "api.main:app", *place], _API_STOP_SECONDS)

    def worker(self, slots: int) -> Program:
        """The Celery worker that runs training jobs."""
        return self._program("worker", ["-m", "worker", "--slots", str(slots)], _WORKER_STOP_SECONDS)

    def scheduler(self) -> Program:
        """Celery beat and recovery."""
        return self._program("scheduler", ["-m", "worker.scheduler"], _SCHEDULER_STOP_SECONDS)

    def migrate(self) -> None:
        """Bring the database to the newest schema.

        Raises:
            ServerError: with the end of the log.
        """
        self._run_once("migrate", ["-m", "services.db.migrate"])

    def release_jobs(self) -> None:
        """Queue again the jobs of a restored database that were running when it was backed up.

        Raises:
            ServerError: with the end of the log.
        """
        self._run_once("release", ["-m", "services.jobs.release"])

    def new_key(self) -> str:
        """Make an API key for the default tenant and return it.

        Raises:
            ServerError: with the end of the log.
        """
        line = self._run_once("bootstrap", ["-m", "services.tenants.bootstrap", "--tenant", "default", "--print-key"])
        return str(json.loads(line)["api_key"])

    def _program(self, name: str, arguments: list[str], stop_seconds: float) -> Program:
        return Program(self._command(name, arguments), stop_seconds=stop_seconds)

    def _command(self, name: str, arguments: list[str]) -> Command:
        log = self.directory / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        rotate(log)
        return Command(name, [sys.executable, *arguments], log, environment=self.environment, directory=self.directory)

    def _run_once(self, name: str, arguments: list[str]) -> str:
        """Run a program to its end and return what it printed; its standard error goes to its log."""
        command = self._command(name, arguments)
        with command.log.open("ab") as log:
            done = subprocess.run(  # noqa: S603 - our own command lines, no shell
                command.launched(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(command.environment),
                cwd=command.directory,
                start_new_session=True,
                check=False,
            )
        if done.returncode != 0:
            raise ServerError(f"`{name}` failed (log: {command.log}):\n{log_tail(command.log)}")
        return done.stdout.decode()


def check_installed() -> None:
    """Make sure that the parts of the service are there, and not only the client.

    Raises:
        ServerError: naming what is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerError(f"Not installed: {', '.join(missing)}. Run `pip install 'modelwright[all]'`.")


def rotate(log: Path) -> None:
    """Put a log that has grown big aside, as ``NAME.1``, in place of the one before."""
    if log.exists() and log.stat().st_size > _KEPT_LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
