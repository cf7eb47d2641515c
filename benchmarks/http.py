"""Requests a second of one API process, and their latency (P5).

    python -m benchmarks.http [--seconds 5] [--clients 16]

The floor is a bare FastAPI application under the same uvicorn, in the same run, asked by the same clients: an endpoint
that returns a small dictionary, and one that parses the same body and returns it. Commits are durable (fsync on), jobs
are preflighted from the cache, nobody takes them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._load import Load, ask
from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services.db.migrate import migrate
from tests.stack import Stack, digits_job, free_port, until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    asking = {"clients": options.clients, "seconds": options.seconds}
    with service() as stack:
        job = stack.submit(digits_job(1))
        bare = start_bare(stack)
        port, key = int(stack.client.base_url.port or 0), stack.client.headers["authorization"]
        body = json.dumps(digits_job(1)).encode()
        print(f"  {'':<34}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
        floor_get = shown("bare GET", ask(bare, get("/job/1"), status=200, **asking))
        floor_post = shown("bare POST", ask(bare, post("/job", body), status=201, **asking))
        shown("GET /healthz", ask(port, get("/healthz"), status=200, **asking))
        got = shown("GET /v1/jobs/{id}   goal ≥ 1000", ask(port, get(f"/v1/jobs/{job}", key), status=200, **asking))
        shown("  the same, 304", ask(port, get(f"/v1/jobs/{job}", key, tag_of(stack, job)), status=304, **asking))
        posted = shown("POST /v1/jobs       goal ≥  250", ask(port, post("/v1/jobs", body, key), status=201, **asking))
        shown("  validate_only", ask(port, post("/v1/jobs?validate_only=true", body, key), status=200, **asking))
    print(f"\n  ratio: GET job ÷ bare GET   {got.requests_per_second / floor_get.requests_per_second:.2f}")
    print(f"  ratio: POST job ÷ bare POST {posted.requests_per_second / floor_post.requests_per_second:.2f}")


def shown(what: str, load: Load) -> Load:
    """Print one line of the table."""
    print(f"  {what:<34}{load.requests_per_second:>9.0f}{load.p50_ms:>9.2f}{load.p99_ms:>9.2f}", flush=True)
    return load


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
