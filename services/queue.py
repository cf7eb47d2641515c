"""The doorbell: tells workers that there is work. Losing a ring costs seconds, never a job."""

from __future__ import annotations

import logging

import redis
from celery import Celery

from services.failpoints import hit

RING = "worker.ring"
RING_SWEEPS = "worker.ring_sweeps"
MAINTENANCE_QUEUE = "maintenance"
"""What the scheduler listens to."""
_SECONDS = 2
ENOUGH_RINGS = 64
"""So many that nobody has heard yet are as good as any number: whoever hears one of them looks for all that waits."""
_RING_EXPIRES_SECONDS = 10.0  # the scheduler looks every few seconds anyway; a backlog of rings is worth nothing

log = logging.getLogger(__name__)


def queue_name(device: str) -> str:
    """Return the queue that workers for ``device`` (``auto``, ``cpu``, ``cuda``, ``cuda:2`` …) listen to."""
    return f"jobs.{device.partition(':')[0]}"


class Doorbell:
    """Rings workers over Redis, best effort: a ring that fails is logged and repeated by the recovery."""

    def __init__(self, redis_url: str) -> None:
        self._celery = Celery("modelwright.doorbell", broker=redis_url, set_as_current=False)
        self._celery.conf.update(
            task_ignore_result=True,
            task_serializer="json",
            broker_connection_retry=False,
            broker_transport_options={
                "socket_timeout": _SECONDS,
                "socket_connect_timeout": _SECONDS,
                "socket_keepalive": True,
                "health_check_interval": 10,
                "max_retries": 0,
            },
        )
        self._redis = redis.Redis.from_url(redis_url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS)

    def ring(self, job_id: str, device: str) -> bool:
        """Say that ``job_id`` waits for a ``device``; return whether the message was taken within about 2 s.

        Nothing is said where `ENOUGH_RINGS` are unheard: every slot is at work then, and looks again before it rests. A
        class that submits at once costs the broker, and later the workers, no message for each.
        """
        try:
            unheard = int(self._redis.llen(queue_name(device)))
        except redis.RedisError as error:
            log.warning("%s not rung for %s: %s", RING, [job_id], error)
            return False
        return unheard >= ENOUGH_RINGS or self._send(RING, [job_id], queue_name(device))

    def ring_sweeps(self) -> bool:
        """Say that there is something to do for sweeps: a new one, or the end of a trial."""
        return self._send(RING_SWEEPS, [], MAINTENANCE_QUEUE, expires=_RING_EXPIRES_SECONDS)

    def close(self) -> None:
        """Close the connections to Redis."""
        self._celery.close()
        self._redis.close()

    def _send(self, task: str, arguments: list[str], queue: str, *, expires: float | None = None) -> bool:
        hit("before_ring")
        try:
            self._celery.send_task(task, args=arguments, queue=queue, expires=expires, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the work is safe in PostgreSQL
            log.warning("%s not rung for %s: %s", task, arguments, error)
            return False
        return True
