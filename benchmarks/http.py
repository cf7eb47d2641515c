"""Requests a second of one API process, and their latency (P5).

    python -m benchmarks.http [--seconds 5] [--clients 16]

The floor is a bare FastAPI application under the same uvicorn, in the same run, asked by the same clients: an endpoint
that returns a small dictionary, and one that parses the same body and returns it. Commits are durable (fsync on), jobs
are preflighted from the cache, nobody takes them. Beside the rate stands the processor time that the serving process
spent on a request: that hardly depends on what else the machine does, and its inverse bounds the rate of one process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks._load import Load, ask
from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services.db.migrate import migrate
from tests.stack import Stack, digits_job, free_port, until

REFUSED = (  # each with a p99 of at most 100 ms
    ("no JSON", b'{"model": }', 400),
    ("depth 100 000", b"[" * 100_000, 400),
    ("50 001 values", b"[" + b"1," * 50_000 + b"1]", 400),
    ("an unknown member", json.dumps({**digits_job(1), "colour": "red"}).encode(), 422),
    ("Linear(64, 10**12)", json.dumps(digits_job(1, model="Linear(64, 10**12)")).encode(), 422),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with service() as stack:
        job = stack.submit(digits_job(1))
        bare = start_bare(stack)
        port, key = int(stack.client.base_url.port or 0), stack.client.headers["authorization"]
        body = json.dumps(digits_job(1)).encode()
        table = Table(options.clients, options.seconds)
        table.head()
        served, floor = (psutil.Process(one.pid) for one in stack.processes)
        floor_get = table.line("bare GET", floor, bare, get("/job/1"), 200)
        floor_post = table.line("bare POST", floor, bare, post("/job", body), 201)
        table.line("GET /healthz", served, port, get("/healthz"), 200)
        got = table.line("GET /v1/jobs/{id}   goal ≥ 1000", served, port, get(f"/v1/jobs/{job}", key), 200)
        table.line("  the same, 304", served, port, get(f"/v1/jobs/{job}", key, tag_of(stack, job)), 304)
        posted = table.line("POST /v1/jobs       goal ≥  250", served, port, post("/v1/jobs", body, key), 201)
        table.line("  validate_only", served, port, post("/v1/jobs?validate_only=true", body, key), 200)
        for what, refused, status in REFUSED:
            table.line(f"refused: {what}", served, port, post("/v1/jobs", refused, key), status)
    for what, ours, bare_one in (
        ("GET job ÷ bare GET  ", got, floor_get),
        ("POST job ÷ bare POST", posted, floor_post),
    ):
        rate = ours.load.requests_per_second / bare_one.load.requests_per_second
        print(f"  ratio: {what}  {rate:.2f} of the rate, {ours.cpu_ms / bare_one.cpu_ms:.1f} times the processor time")


@dataclass(frozen=True)
class Cost:
    """How fast requests were answered, and what one cost its server."""

    load: Load
    cpu_ms: float


@dataclass(frozen=True)
class Table:
    """Asks and prints a line for each kind of request."""

    clients: int
    seconds: float

    def head(self) -> None:
        """Print what stands above the columns."""
        print(f"  {'':<34}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'cpu ms':>9}")

    def line(self, what: str, server: psutil.Process, port: int, request: Callable[[], bytes], status: int) -> Cost:
        """Ask one server for some seconds."""
        before = sum(server.cpu_times()[:2])
        load = ask(port, request, clients=self.clients, seconds=self.seconds, status=status)
        spent = sum(server.cpu_times()[:2]) - before
        cost = Cost(load, spent / (load.requests_per_second * self.seconds) * 1e3)
        numbers = f"{load.requests_per_second:>9.0f}{load.p50_ms:>9.2f}{load.p99_ms:>9.2f}{cost.cpu_ms:>9.2f}"
        print(f"  {what:<34}{numbers}", flush=True)
        return cost


@contextmanager
def service() -> Iterator[Stack]:
    """The API alone, over durable servers of its own."""
    with tempfile.TemporaryDirectory(prefix="modelwright-bench-") as name:
        directory = Path(name)
        postgres, valkey = PostgresServer(directory / "postgres"), ValkeyServer(directory / "valkey")
        postgres.start()
        valkey.start()
        url = postgres.url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrate(url)
        environment = {"DATABASE_URL": url, "REDIS_URL": valkey.url, "MODELWRIGHT_DATA_DIR": str(directory / "data")}
        stack = Stack({**os.environ, "MODELWRIGHT_MAX_QUEUED_JOBS": "1000000", **environment}, directory / "logs")
        try:
            stack.start_api()
            yield stack
        finally:
            stack.stop()
            valkey.stop()
            postgres.stop()


def start_bare(stack: Stack, **environment: str) -> int:
    """Start the floor beside the service and return its port."""
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = stack.spawn("-m", "uvicorn", "benchmarks._bare:app", *options, **environment)
    until(lambda: answers(port, process), seconds=30)
    return port


def answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server is up."""
    assert process.poll() is None
    try:
        ask(port, get("/job/1"), clients=1, seconds=0.01, status=200)
    except OSError:
        return False
    return True


def get(path: str, key: str = "", tag: str = "") -> Callable[[], bytes]:
    """Return a maker of GET requests."""
    headers = f"Authorization: {key}\r\n" * bool(key) + f"If-None-Match: {tag}\r\n" * bool(tag)
    request = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()
    return lambda: request


def post(path: str, body: bytes, key: str = "") -> Callable[[], bytes]:
    """Return a maker of POST requests."""
    headers = f"Authorization: {key}\r\n" * bool(key) + f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    request = f"POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n\r\n".encode() + body
    return lambda: request


def tag_of(stack: Stack, job: str) -> str:
    """Return the entity tag of a job."""
    return str(stack.client.get(f"/v1/jobs/{job}").headers["etag"])


if __name__ == "__main__":
    main()
