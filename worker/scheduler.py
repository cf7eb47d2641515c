"""Start the scheduler: Celery beat and the small worker that does what it says (``python -m worker.scheduler``)."""

from __future__ import annotations

from celery.signals import beat_embedded_init, worker_process_init

from worker import tasks
from worker.app import MAINTENANCE_QUEUE, app
from worker.orphans import die_with_main


def main() -> None:
    """Run beat together with a worker for the maintenance queue, so that no training job delays a recovery."""
    worker_process_init.disconnect(tasks.open_slot)  # no training here: no fork server, no claims
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--beat", "--pool=solo", "--concurrency=1", f"--queues={MAINTENANCE_QUEUE}", *quiet])


@beat_embedded_init.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _on_beat_process(**_: object) -> None:
    die_with_main()


if __name__ == "__main__":
    main()
