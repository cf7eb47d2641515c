"""From a POST to the first optimizer step (P2), and fifty tiny jobs at once (P3), on the whole service.

    python -m benchmarks.submit [--jobs 60]

Latency is measured on one machine and one clock: the client notes when its 201 arrived, the trainer when its first
optimizer step was done. The floor is what a peer measured as "submit → finished no-op that imports torch" costs here
without a service: a new interpreter that imports torch and takes one step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from modelwright.server.postgres import PostgresServer
from modelwright.server.valkey import ValkeyServer
from services.db.migrate import migrate
from services.jobs import repository
from tests.stack import Stack, digits_job

_ONE_STEP = """
import torch
net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
optimizer = torch.optim.Adam(net.parameters())
torch.nn.functional.cross_entropy(net(torch.randn(64, 64)), torch.randint(10, (64,))).backward()
optimizer.step()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=60)
    jobs = parser.parse_args().jobs
    with service() as stack:
        stack.wait(stack.submit(digits_job(1)))
        stack.wait(stack.submit(digits_job(1)))
        latencies = sorted(first_step_seconds(stack) for _ in range(jobs))
        fifty = fifty_at_once(stack)
    fresh = statistics.median(timed(fresh_process) for _ in range(3))
    p50, p99 = statistics.median(latencies), latencies[min(len(latencies) - 1, round(len(latencies) * 0.99))]
    print(f"\nPOST acknowledged → first optimizer step, {jobs} jobs one after the other (P2)\n")
    print(f"  {'p50':<52}{p50 * 1000:>10.1f} ms   goal ≤ 60")
    print(f"  {'p99':<52}{p99 * 1000:>10.1f} ms   goal ≤ 250")
    print(f"  {'a new interpreter that imports torch, one step':<52}{fresh * 1000:>10.1f} ms")
    print(f"  {'ratio: new interpreter ÷ p50':<52}{fresh / p50:>10.1f} ×\n")
    print("50 digits MLPs, 1 epoch each, submitted at once, 2 slots (P3)\n")
    print(f"  {'first POST → last job finished':<52}{fifty:>10.2f} s    goal ≤ 10")
    print(f"  {'ratio: 50 new interpreters on 2 cores ÷ this':<52}{fresh * 25 / fifty:>10.1f} ×\n")


@contextmanager
def service() -> Iterator[Stack]:
    """The whole service with durable commits, on its own servers."""
    with tempfile.TemporaryDirectory(prefix="modelwright-bench-") as name:
        directory = Path(name)
        postgres, valkey = PostgresServer(directory / "postgres"), ValkeyServer(directory / "valkey")
        postgres.start()
        valkey.start()
        url = postgres.url.replace("postgresql://", "postgresql+psycopg://", 1)
        migrate(url)
        environment = {"DATABASE_URL": url, "REDIS_URL": valkey.url, "MODELWRIGHT_DATA_DIR": str(directory / "data")}
        stack = Stack({**os.environ, **environment, "MODELWRIGHT_DEVICES": "cpu"}, directory / "logs")
        try:
            stack.start_worker(slots=2)
            stack.start_api()
            yield stack
        finally:
            stack.stop()
            valkey.stop()
            postgres.stop()


def first_step_seconds(stack: Stack) -> float:
    """Submit one job on an idle service; return the seconds from its 201 to its first optimizer step."""
    job_id = stack.submit(digits_job(1))
    acknowledged = time.time()
    stack.wait(job_id)
    with stack.database.read_session() as session:
        events = repository.events(session, job_id=job_id)
    stepped = next(event.data["at"] for event in events if event.type == "job.first_step")
    return datetime.fromisoformat(stepped).timestamp() - acknowledged


def fifty_at_once(stack: Stack) -> float:
    """Return the seconds from the first POST of fifty to the end of the last job, by the database's clock."""
    begun = time.time()
    ids = [stack.submit(digits_job(1)) for _ in range(50)]
    finished = [stack.wait(job_id) for job_id in ids]
    assert all(job["state"] == "succeeded" for job in finished)
    return max(datetime.fromisoformat(job["finished_at"]).timestamp() for job in finished) - begun


def fresh_process() -> None:
    """Take one step in a new interpreter."""
    subprocess.run([sys.executable, "-c", _ONE_STEP], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def timed(action: object) -> float:
    """Return how many seconds ``action()`` takes."""
    begun = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
