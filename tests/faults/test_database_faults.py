"""Rows 8, 9 and 10 of the fault table: PostgreSQL dies, is away, or is cut off behind a proxy, over one service."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

from modelwright.server.postgres import PostgresServer
from services.db.migrate import migrate
from services.db.models import Job
from tests.faults.jobs import assert_continuous, events, long_job, wait_for_checkpoint
from tests.faults.proxy import Proxy
from tests.stack import Stack, digits_job, until

pytestmark = pytest.mark.timeout(400)  # a busy machine takes a minute to import torch in each worker


@dataclass
class Site:
    """A service on a PostgreSQL of its own, which API and workers reach through a proxy each."""

    postgres: PostgresServer
    api_proxy: Proxy
    worker_proxy: Proxy
    stack: Stack

    def restart(self) -> None:
        """Start PostgreSQL again, and forget what the tests themselves had open."""
        self.postgres.start()
        self.stack.database.close()

    def recovers(self) -> None:
        """Wait until the API has noticed that PostgreSQL is back."""
        until(lambda: self.stack.client.get("/v1/jobs").status_code == 200, seconds=60, what=self.stack.logs)


@pytest.fixture(scope="module")
def site(environment_of_module: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = Path(tmp_path_factory.mktemp("site"))
    postgres = PostgresServer(directory / "postgres")  # as durable as the embedded one
    postgres.start()
    url = postgres.url.replace("postgresql://", "postgresql+psycopg://", 1)
    migrate(url)
    stack = Stack({**environment_of_module, "DATABASE_URL": url}, directory / "logs")
    try:
        with Proxy(socket_of(postgres)) as for_api, Proxy(socket_of(postgres)) as for_worker:
            stack.start_worker(DATABASE_URL=through(for_worker))
            stack.start_api(DATABASE_URL=through(for_api))
            yield Site(postgres, for_api, for_worker, stack)
            stack.stop()
    finally:
        stack.stop()
        postgres.stop()


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> str:
    """The checksum of the final weights of `long_job` when nothing goes wrong."""
    job_id = site.stack.submit(long_job())
    assert site.stack.wait(job_id, seconds=150)["state"] == "succeeded"
    return site.stack.final_sha256(job_id)


def socket_of(postgres: PostgresServer) -> Path:
    return Path(parse_qs(urlsplit(postgres.url).query)["host"][0]) / ".s.PGSQL.5432"


def through(proxy: Proxy) -> str:
    return f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/postgres?sslmode=disable"


def test_training_pauses_while_postgresql_is_away_and_goes_on_with_the_same_attempt(
    site: Site, undisturbed: str
) -> None:
    stack = site.stack
    job_id = stack.submit(long_job())
    wait_for_checkpoint(stack, job_id)
    site.postgres.kill()
    answer = stack.client.get(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    answer = stack.client.post("/v1/jobs", json=digits_job(1))
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
    time.sleep(float(stack.environment["MODELWRIGHT_LEASE_SECONDS"]) + 2)  # longer than the lease
    site.restart()
    site.recovers()
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)
    assert stack.final_sha256(job_id) == undisturbed
    assert_continuous(stack, job_id)
    assert not events(stack, job_id, "job.lease_expired")


def test_connections_that_are_reset_or_stall_cost_nothing(site: Site, undisturbed: str) -> None:
    """Row 10, for a worker: resets in the middle of queries and of commits, again and again, while a job trains."""
    stack = site.stack
    job_id = stack.submit(long_job())
    stack.trainer_pid(job_id)
    for number in range(8):
        site.worker_proxy.cut_at(b"COMMIT", delivered=number % 2 == 0)
        time.sleep(0.3)
        site.worker_proxy.cut_after(50 * number)
        time.sleep(0.2)
    site.worker_proxy.cut_at(b"", delivered=False)
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"]) == ("succeeded", 1), stack.logs()
    assert stack.final_sha256(job_id) == undisturbed
    assert_continuous(stack, job_id)


def test_a_request_whose_connection_is_cut_is_answered_well_or_503_and_never_500(site: Site) -> None:
    """Row 10, for the API: a commit of unknown outcome, repeated with its key, makes one job."""
    stack = site.stack
    job_id = stack.submit(digits_job(1))
    stack.wait(job_id)
    for cut in range(0, 2400, 120):
        site.api_proxy.cut_after(cut)
        for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/checkpoints", "/v1/jobs?limit=3"):
            answer = stack.client.get(path)
            assert answer.status_code in (200, 503), answer.text
            assert answer.status_code == 200 or answer.headers["retry-after"]
    submissions = [Submission() for _ in range(4)]
    for number, submission in enumerate(submissions):
        site.api_proxy.cut_at(b"COMMIT", delivered=number % 2 == 0)
        submission.send(stack)
        assert len(_jobs_named(stack, submission.key)) == 1
        assert set(submission.statuses[:-1]) <= {503}
        stack.wait(submission.job_id)
    assert any(503 in submission.statuses for submission in submissions)


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=[pytest.mark.chaos, pytest.mark.timeout(900)])])
def test_what_was_acknowledged_outlives_a_postgresql_that_is_killed_amid_commits(site: Site, kills: int) -> None:
    """Row 8: clients submit without a pause, each request with a key and repeated until it is answered."""
    stack = site.stack
    stopped = threading.Event()
    acknowledged: list[Submission] = []

    def submit_on() -> None:
        while not stopped.is_set():
            submission = Submission()
            submission.send(stack)
            acknowledged.append(submission)

    clients = [threading.Thread(target=submit_on) for _ in range(3)]
    for client in clients:
        client.start()
    for _ in range(kills):
        known = len(acknowledged)
        until(lambda known=known: len(acknowledged) >= known + 3, seconds=60, what=stack.logs)  # type: ignore[misc]
        site.postgres.kill()
        site.restart()
    stopped.set()
    for client in clients:
        client.join(60)
    site.recovers()
    for submission in acknowledged:
        (job_id,) = _jobs_named(stack, submission.key)
        assert job_id == submission.job_id
        job = stack.wait(job_id, seconds=120)
        assert job["state"] == "succeeded", job
        assert_continuous(stack, job_id)
    assert all(set(submission.statuses) <= {201, 409, 503} for submission in acknowledged)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_after_a_long_outage_the_trainer_is_gone_and_the_job_resumes_later(site: Site, undisturbed: str) -> None:
    """Row 9: 20 minutes, with a patience of 8 s in place of 15 minutes."""
    stack = site.stack
    stack.processes[0].send_signal(signal.SIGTERM)
    stack.processes[0].wait(60)
    worker = stack.start_worker(DATABASE_URL=through(site.worker_proxy), MODELWRIGHT_OUTAGE_SECONDS="8")
    job_id = stack.submit(long_job())
    wait_for_checkpoint(stack, job_id)
    trainer = stack.trainer_pid(job_id)
    site.postgres.kill()
    until(lambda: not Path(f"/proc/{trainer}").exists(), seconds=60, what=stack.logs)
    site.restart()
    site.recovers()
    job = stack.wait(job_id)
    assert (job["state"], job["attempt"], job["resume"]) == ("succeeded", 2, "exact")
    assert stack.final_sha256(job_id) == undisturbed
    assert_continuous(stack, job_id)
    assert worker.poll() is None


@dataclass
class Submission:
    """One job that a client wants, and how its requests were answered."""

    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    statuses: list[int] = field(default_factory=list)
    job_id: str = ""

    def send(self, stack: Stack) -> None:
        """Repeat the request until it is acknowledged."""
        body, headers = digits_job(1, name=self.key), {"Idempotency-Key": self.key}
        while not self.job_id:
            with suppress(httpx.TransportError):
                answer = stack.client.post("/v1/jobs", json=body, headers=headers)
                self.statuses.append(answer.status_code)
                if answer.status_code == 201:
                    self.job_id = answer.json()["id"]
                    return
            time.sleep(0.1)


def _jobs_named(stack: Stack, name: str) -> list[str]:
    with stack.database.read_session() as session:
        return list(session.scalars(select(Job.id).where(Job.name == name)))
