"""How a client follows a job: every change, its end, and what happened on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from modelwright.errors import RETRY_STATUSES, ConnectionFailed, ServiceError, WaitTimeout
from modelwright.requests import Requests, Tagged, address, filters, path

Json = dict[str, Any]

_WAIT_SECONDS = 20.0  # the service holds a look back for so long, until there is something to see
_LEAST_SECONDS = 0.1  # between two looks, should something between us and the service not wait
_PAUSE_SECONDS = 1.0
_OUTAGE_SECONDS = 300.0  # a watcher outlives a restart of the service


class FollowCalls(Requests):
    """The methods that wait."""

    def watch(self, job_id: str, *, timeout_seconds: float | None = None) -> Iterator[Json]:
        """Yield the job, or the sweep, now and after every change until it has ended.

        Outages of the service are waited out.

        Raises:
            WaitTimeout: it has not ended in time.
        """
        deadline = time.monotonic() + (float("inf") if timeout_seconds is None else timeout_seconds)
        job, etag = self._changed(job_id, None, 0.0)
        while True:
            if job:
                yield Tagged(job, etag)
                if job["terminal"]:
                    return
            asked = time.monotonic()
            if asked >= deadline:
                raise WaitTimeout(f"{job_id} has not ended after {timeout_seconds:g} s; it goes on.")
            # The service holds back a look at a job, not one at a sweep.
            held = job_id.startswith("job_")
            job, etag = self._changed(job_id, etag, min(deadline - asked, _WAIT_SECONDS) if held else 0.0)
            least = _LEAST_SECONDS if held else _PAUSE_SECONDS
            time.sleep(max(0.0, min(least, deadline - asked) - (time.monotonic() - asked)))

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> Json:
        """Return the job, or the sweep, when it has ended, whatever its state then is.

        Raises:
            WaitTimeout: it has not ended in time.
        """
        job: Json = {}
        for job in self.watch(job_id, timeout_seconds=timeout_seconds):  # noqa: B007 - the last one counts
            pass
        return job

    def events(self, job_id: str, *, limit: int | None = None) -> Iterator[Json]:
        """Yield what happened to a job so far, oldest first: states, attempts, checkpoints.

        Raises:
            NotFound: you have no such job.
        """
        return self._pages(path("jobs", job_id, "events"), [], limit)

    def logs(self, job_id: str, *, levels: Sequence[str] = (), limit: int | None = None) -> Iterator[Json]:
        """Yield the lines of a job's log so far, oldest first: evaluations, checkpoints, warnings, how it ended.

        Args:
            levels: only ``info``, ``warning`` or ``error``.

        Raises:
            NotFound: you have no such job.
        """
        return self._pages(path("jobs", job_id, "logs"), filters(level=levels), limit)

    def follow_logs(self, job_id: str, *, levels: Sequence[str] = ()) -> Iterator[Json]:
        """Yield the lines of a job's log and then those that come, until it has ended: each line once, in order.

        Raises:
            NotFound: you have no such job.
        """
        after: str | None = None
        wanted = filters(level=levels)
        for job in self.watch(job_id):
            for line in self._pages(path("jobs", job_id, "logs"), wanted, None, after=after):
                after = line["id"]
                yield line
            if job["terminal"]:
                return

    def follow_events(self, job_id: str, *, after: str | None = None) -> Iterator[Json]:
        """Yield what happened to a job and then what happens, until it has ended: each event once, in order.

        A connection that breaks and a service that restarts are waited out.

        Args:
            after: the id of an event that is known; those after it follow.

        Raises:
            NotFound: you have no such job.
        """
        heard = time.monotonic()
        while True:
            try:
                for event in self._stream_events(job_id, after):
                    if event is None:
                        return
                    after, heard = event["id"], time.monotonic()
                    yield event
            except (ConnectionFailed, ServiceError) as error:
                _endure(error, time.monotonic() - heard)
            time.sleep(_PAUSE_SECONDS if time.monotonic() - heard > _PAUSE_SECONDS else 0.0)

    def _stream_events(self, job_id: str, after: str | None) -> Iterator[Json | None]:
        """Yield the events that one connection brings; None when the job has ended and all are known."""
        from httpx_sse import EventSource  # noqa: PLC0415 - it imports httpx: see `Client`

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with self._transport.stream(path("jobs", job_id, "events"), headers) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                yield None
                return
            for message in EventSource(answer).iter_sse():
                if message.data and message.event != "job.progress":
                    yield json.loads(message.data)

    def _changed(self, job_id: str, etag: str | None, wait_seconds: float) -> tuple[Json | None, str | None]:
        begun = time.monotonic()
        while True:
            try:
                return self._transport.get_if_changed(address(job_id), etag, wait_seconds=wait_seconds)
            except (ConnectionFailed, ServiceError) as error:
                _endure(error, time.monotonic() - begun)
            time.sleep(_PAUSE_SECONDS)


def _endure(error: ConnectionFailed | ServiceError, seconds: float) -> None:
    passing = isinstance(error, ConnectionFailed) or error.status in RETRY_STATUSES
    if not passing or seconds > _OUTAGE_SECONDS:
        raise error
