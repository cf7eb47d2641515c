"""Looks at jobs: those that come while one is under way share the next, one query for all of them.

A look never joins a query that has begun, so it sees whatever was committed before its request came. One after another
they run in a thread of their own: sixteen pollers cost a query and a change of threads each time, not sixteen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from services.jobs.queries import Owned

Read = Callable[[Sequence[str]], Mapping[str, Owned]]
_Future = asyncio.Future[Owned | None]


class Looks:
    """Whose jobs are, and their versions, as of now. The event loop alone calls it."""

    def __init__(self, read: Read) -> None:
        """``read`` asks the database; it is called in a thread, once at a time."""
        self._read = read
        self._asked: list[tuple[str, _Future]] = []
        self._reading: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="looks")

    async def find(self, job_id: str) -> Owned | None:
        """Return the job's tenant and version; None where there is no such job."""
        future: _Future = asyncio.get_running_loop().create_future()
        self._asked.append((job_id, future))
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_all())
        return await future

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _read_all(self) -> None:
        while self._asked:
            asked, self._asked = self._asked, []
            job_ids = [*dict.fromkeys(job_id for job_id, _ in asked)]
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, job_ids)
            except Exception as error:  # noqa: BLE001 - each request that asked answers it, as if it had read itself
                for _, future in _waiting(asked):
                    future.set_exception(error)
            else:
                for job_id, future in _waiting(asked):
                    future.set_result(found.get(job_id))


def _waiting(asked: Sequence[tuple[str, _Future]]) -> list[tuple[str, _Future]]:
    """Return those whose request was not given up meanwhile."""
    return [one for one in asked if not one[1].done()]
