"""The Celery application. Celery is a doorbell here: a message says that there is work, PostgreSQL says which."""

from __future__ import annotations

from celery import Celery

from services.config import load_settings
from services.queue import MAINTENANCE_QUEUE, queue_name

RECOVER = "worker.recover"
RECOVER_SECONDS = 5.0
FETCH = "worker.fetch"
COLLECT = "worker.collect"
COLLECT_SECONDS = 60.0  # it looks at every chunk: not so often that a large store feels it

settings = load_settings()

app = Celery("modelwright", broker=settings.redis_url, include=["worker.tasks"])
app.conf.update(
    # A ring that is lost costs seconds, a ring that is redelivered while its job runs costs trust:
    # acknowledge early, keep no results, and let nothing wait inside Redis (celery #5935, #3270, #10302).
    task_acks_late=False,
    task_ignore_result=True,
    result_backend=None,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    worker_prefetch_multiplier=1,
    worker_disable_prefetch=True,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_send_task_events=False,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
    },
    task_default_queue=queue_name("auto"),
    task_create_missing_queues=True,
    beat_schedule={
        "recover": {
            "task": RECOVER,
            "schedule": RECOVER_SECONDS,
            # A backlog of recoveries, after Redis was away, would do nothing that the last one does not.
            "options": {"queue": MAINTENANCE_QUEUE, "expires": RECOVER_SECONDS},
        },
        "fetch": {
            "task": FETCH,
            "schedule": RECOVER_SECONDS,
            "options": {"queue": MAINTENANCE_QUEUE, "expires": RECOVER_SECONDS},
        },
        "collect": {
            "task": COLLECT,
            "schedule": COLLECT_SECONDS,
            "options": {"queue": MAINTENANCE_QUEUE, "expires": COLLECT_SECONDS},
        },
    },
    beat_scheduler="celery.beat:Scheduler",  # in memory: the default one keeps a pickle
)
