"""The service as real processes: an API, workers, a scheduler, on servers that tests may break."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from services.db.engine import Database
from services.db.models import Job
from services.jobs import repository

ROOT = Path(__file__).parents[1]
DIGITS_MLP: dict[str, Any] = {
    "model": "Sequential(Linear(64, 32), ReLU(), Dropout(0.1), Linear(32, 10))",
    "data": {"dataset": "digits", "batch_size": 64, "split": {"train": 0.8, "validation": 0.1, "test": 0.1, "seed": 0}},
    "training": {
        "epochs": 1,
        "optimizer": {"type": "Adam", "lr": 0.003},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": ["accuracy"],
        "seed": 7,
    },
}


def digits_job(epochs: int, **changes: Any) -> dict[str, Any]:
    """Return a request that trains a small MLP on digits."""
    return {**DIGITS_MLP, "training": {**DIGITS_MLP["training"], "epochs": epochs}, **changes}


class Stack:
    """Processes of the service over given servers; ``stop`` ends all of them."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.environment = dict(environment)
        self.directory = directory
        self.database = Database(self.environment["DATABASE_URL"])
        self.processes: list[subprocess.Popen[bytes]] = []
        self.client = httpx.Client(timeout=30)

    def start_api(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the API, make a key, and wait until it answers; the client asks this one from now on."""
        made = subprocess.run(
            [sys.executable, "-m", "services.tenants.bootstrap", "--tenant", "default", "--print-key"],
            env=self.environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        key = json.loads(made.stdout)["api_key"]
        port = free_port()
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        api = self.spawn("-m", "uvicorn", "api.main:app", *options, **environment)
        url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        until(self._healthy, seconds=60, what=self.logs)
        return api

    def start_worker(self, slots: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker with so many slots."""
        return self.spawn("-m", "worker", "--slots", str(slots), **environment)

    def start_scheduler(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start beat and the maintenance worker."""
        return self.spawn("-m", "worker.scheduler", **environment)

    def spawn(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a Python process of the service in a session of its own."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{len(self.processes)}{arguments[1]}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**self.environment, **environment},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def submit(self, body: Mapping[str, Any]) -> str:
        """POST a job and return its id."""
        answer = self.client.post("/v1/jobs", json=dict(body))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """GET a job."""
        answer = self.client.get(f"/v1/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, job_id: str, seconds: float = 90, state: str | None = None) -> dict[str, Any]:
        """Poll until the job has ended, or is in ``state``."""
        until(lambda: self._arrived(job_id, state), seconds=seconds, what=lambda: f"{self.job(job_id)}\n{self.logs()}")
        return self.job(job_id)

    def final_sha256(self, job_id: str) -> str:
        """Return the checksum of the job's newest checkpoint."""
        return str(self.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"][0]["sha256"])

    def trainer_pid(self, job_id: str, attempt: int = 1) -> int:
        """Wait for the trainer of an attempt and return its process id."""

        def find() -> int | None:
            with self.database.read_session() as session:
                for event in repository.events(session, job_id=job_id):
                    if event.type == "job.started" and event.data["attempt"] == attempt:
                        return int(event.data["environment"]["pid"])
            return None

        until(lambda: find() is not None, seconds=60, what=self.logs)
        return find() or 0

    def owner_pid(self, job_id: str) -> int:
        """Return the process id of the pool child that owns a job."""
        with self.database.read_session() as session:
            job = session.get(Job, job_id)
        assert job is not None
        assert job.owner is not None
        return int(job.owner.rsplit("/", 1)[1])

    def stored_step(self, job_id: str) -> int:
        """Return the step of the newest checkpoint, 0 if there is none."""
        data = self.client.get(f"/v1/jobs/{job_id}/checkpoints").json()["data"]
        return int(data[0]["step"]) if data else 0

    def logs(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.directory.glob("*.log")))

    def stop(self) -> None:
        """End all processes and whatever they started."""
        families = [family(process.pid) for process in self.processes]
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
        for member in (member for members in families for member in members):
            with suppress(psutil.NoSuchProcess):
                member.kill()
        for process in self.processes:
            process.wait(5)
        self.client.close()
        self.database.close()

    def _healthy(self) -> bool:
        with suppress(httpx.TransportError):
            return self.client.get("/healthz").status_code == 200
        return False

    def _arrived(self, job_id: str, state: str | None) -> bool:
        job = self.job(job_id)
        return job["state"] == state if state else bool(job["terminal"])


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def until(condition: Callable[[], object], *, seconds: float, what: Callable[[], str] = lambda: "") -> None:
    """Wait for ``condition``; fail with ``what()`` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what()}"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill(pid: int) -> None:
    """Kill a process as a crash would."""
    os.kill(pid, signal.SIGKILL)
