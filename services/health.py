"""Whether what the service stands on works right now: PostgreSQL, Redis, workers, the scheduler, an object store."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Literal

import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from services.db.engine import Database
from services.s3 import Trouble
from services.storage.objects import REACH_SECONDS, ObjectStore
from services.telemetry.counters import seen_seconds_ago

Word = Literal["ok", "degraded", "down"]

UNCLAIMED_SECONDS = 30
"""A free worker takes a job within 15 s whatever fails; one that waits twice as long while nobody trains has none."""
SCHEDULER_SECONDS = 30
STORE_FRESH_SECONDS = 5.0
"""So old may be what is said of the object store: each question is a request that its operator pays for."""
_REDIS_SECONDS = 1.0
_PROBE = "modelwright.health"

_WORKERS = text(
    """
    SELECT EXISTS (SELECT FROM job WHERE lease_expires_at > now()),
           EXISTS (SELECT FROM job WHERE state = 'queued' AND held_until IS NULL
                           AND greatest(created_at, start_after) < now() - make_interval(secs => :seconds))
    """
)


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that the service needs, and a word and a sentence on how it is."""

    status: Word
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"status": self.status, "detail": self.detail}


def check_database(database: Database) -> dict[str, Component]:
    """Return how PostgreSQL is, and what its tables say about the workers and the scheduler."""
    try:
        with database.read_session() as session:
            leased, waiting = session.execute(_WORKERS, {"seconds": UNCLAIMED_SECONDS}).one()
            scheduler = seen_seconds_ago(session).get("scheduler")
    except SQLAlchemyError:
        unknown = Component("degraded", "Not known while PostgreSQL cannot be asked.")
        down = Component("down", "PostgreSQL does not answer: requests get 503 until it does.")
        return {"database": down, "workers": unknown, "scheduler": unknown}
    return {
        "database": Component("ok", "PostgreSQL answers."),
        "workers": _workers(leased=leased, waiting=waiting),
        "scheduler": _scheduler(scheduler),
    }


def check_redis(client: redis.Redis) -> Component:
    """Return how Redis is; without it jobs are accepted and start some seconds later."""
    try:
        client.set(_PROBE, b"1", ex=60)  # one that is full, or a replica, answers a ping and takes no message
    except redis.ResponseError:
        return Component("degraded", "Redis takes no messages: jobs are accepted, and start up to 15 s later.")
    except (redis.RedisError, OSError):
        return Component("degraded", "Redis does not answer: jobs are accepted, and start up to 15 s later.")
    return Component("ok", "Redis answers.")


def redis_client(url: str) -> redis.Redis:
    """Return a client for `check_redis` that waits no longer than a second."""
    return redis.Redis.from_url(url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS)


class StoreProbe:
    """Says how an object store is. Any thread may ask; the store is asked by one at a time, and not for each of them.

    So a store that hangs holds one thread of ours, however often who has no key asks ``/readyz``.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._turn = threading.Lock()
        self._known: tuple[float, Component] | None = None

    def look(self) -> Component:
        """Return how it is, or was some seconds ago."""
        if not self._turn.acquire(timeout=2 * REACH_SECONDS):
            return Component("degraded", "The object store has not answered yet.")
        try:
            if self._known is None or time.monotonic() - self._known[0] > STORE_FRESH_SECONDS:
                self._known = time.monotonic(), _store(self._store.reach())
            return self._known[1]
        finally:
            self._turn.release()


def _store(trouble: Trouble | None) -> Component:
    """Judge what came of asking for the bucket, of which only the answer's status is known."""
    if trouble is None:
        return Component("ok", "The object store answers.")
    what = {"denied": "refuses our key", "not_found": "has no such bucket", "away": "does not answer"}
    cost = "requests that need its bytes get 503, jobs that store a checkpoint wait."
    return Component("degraded", f"The object store {what.get(trouble, 'refuses what we ask')}: {cost}")


def _scheduler(seconds: float | None) -> Component:
    """Judge how long ago the scheduler, which recovers every 5 s, was seen."""
    what = "lost jobs are not recovered, sweeps stand still, no webhook is delivered."
    if seconds is None:
        return Component("degraded", f"No scheduler was ever seen: {what}")
    if seconds > SCHEDULER_SECONDS:
        return Component("degraded", f"The scheduler was last seen {seconds:.0f} s ago: {what}")
    return Component("ok", "The scheduler is at work.")


def _workers(*, leased: bool, waiting: bool) -> Component:
    if waiting and not leased:
        return Component("degraded", f"Jobs have waited for {UNCLAIMED_SECONDS} s and no worker takes any.")
    return Component("ok", "Workers are training." if leased else "No job waits for a worker.")
