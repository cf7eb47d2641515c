"""The doorbell: tells workers that there is work. Losing a ring costs seconds, never a job."""

from __future__ import annotations

import logging

from celery import Celery

RING = "worker.ring"
_SECONDS = 2

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

    def ring(self, job_id: str, device: str) -> bool:
        """Say that ``job_id`` waits for a ``device``; return whether the message was taken within about 2 s."""
        try:
            self._celery.send_task(RING, args=[job_id], queue=queue_name(device), retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises, the job is safe in PostgreSQL
            log.warning("doorbell not rung for %s: %s", job_id, error)
            return False
        return True

    def close(self) -> None:
        """Close the connections to Redis."""
        self._celery.close()
