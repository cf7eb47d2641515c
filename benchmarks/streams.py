"""What idle streams cost everybody else: reads of one API process without and with so many of them open.

    python -m benchmarks.streams [--streams 1000] [--seconds 5]

Every stream follows a job of its own that waits. Then one event happens to each job, and it is timed until the last
stream has it. Streams that miss it, or lose their connection, fail the run.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from contextlib import suppress

import psutil
from sqlalchemy import text

from benchmarks.http import Table, get, service
from services.db.models import Job
from services.jobs.states import transition
from tests.factories import add_job
from tests.stack import Stack, digits_job

WORST_P99_RATIO = 4.0


class Followers:
    """Streams in one event loop of their own; ``ended`` counts those that were told of the end of their job."""

    def __init__(self, port: int, key: str, job_ids: list[str]) -> None:
        self.port, self.key, self.job_ids = port, key, job_ids
        self.open = self.ended = self.pings = 0
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        await asyncio.gather(*(self._follow(job_id) for job_id in self.job_ids))

    async def _follow(self, job_id: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = f"GET /v1/jobs/{job_id}/events HTTP/1.1\r\nHost: bench\r\nAuthorization: {self.key}\r\n"
        writer.write(f"{head}Accept: text/event-stream\r\n\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"no stream: {answer!r}")
        self.open += 1
        with suppress(asyncio.IncompleteReadError):
            while True:
                line = await reader.readuntil(b"\n")
                self.pings += line.startswith(b": ping")
                if b'"state":"cancelled"' in line:
                    self.ended += 1
                    break
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with service() as stack:
        job = stack.submit(digits_job(1))
        port, key = int(stack.client.base_url.port or 0), str(stack.client.headers["authorization"])
        api, look = psutil.Process(stack.processes[0].pid), get(f"/v1/jobs/{job}", key)
        table = Table(clients=4, seconds=options.seconds)
        table.head()
        alone = table.line("GET job, no stream", api, port, look, 200).load
        before = memory(api)
        followers = Followers(port, key, waiting_jobs(stack, options.streams))
        followers.thread.start()
        while followers.open < options.streams:
            time.sleep(0.05)
        crowd = table.line(f"GET job, {options.streams} idle streams", api, port, look, 200).load
        each = (memory(api) - before) / options.streams
        took = end_all(stack, followers)
        ratio = crowd.p99_ms / alone.p99_ms
        print(f"\n  memory of the API for each stream     {each / 1e3:.0f} kB")
        print(f"  from the last commit to the last told {took:.2f} s ({followers.ended} of {options.streams})")
        print(f"  p99 with the streams ÷ without        {ratio:.2f}   goal ≤ {WORST_P99_RATIO:g}")
        if followers.ended != options.streams or ratio > WORST_P99_RATIO:
            raise SystemExit(1)


def waiting_jobs(stack: Stack, count: int) -> list[str]:
    """Return jobs of the caller's tenant that nobody takes."""
    with stack.database.read_session() as session:
        tenant_id = session.scalar(text("SELECT tenant_id FROM job LIMIT 1"))
    return [add_job(stack.database, tenant_id, state="paused") for _ in range(count)]


def end_all(stack: Stack, followers: Followers) -> float:
    """Cancel every job, and return the seconds until every stream has heard of it."""
    for job_id in followers.job_ids:
        with stack.database.session() as session:
            transition(session, session.get(Job, job_id, with_for_update=True), "cancelled")
    done = time.monotonic()
    followers.thread.join(60)
    return time.monotonic() - done


def memory(process: psutil.Process) -> int:
    """Return the resident bytes of a process."""
    return int(process.memory_info().rss)


if __name__ == "__main__":
    main()
