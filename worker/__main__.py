"""Start a worker: ``python -m worker --slots 2``."""

from __future__ import annotations

import argparse

from services.queue import queue_name
from worker.app import app, settings


def main() -> None:
    """Run a Celery worker that listens for the devices it has, with one pool child a slot."""
    parser = argparse.ArgumentParser(prog="python -m worker", description="Run training jobs.")
    parser.add_argument("--slots", type=int, default=settings.slots, help="jobs at a time (default: %(default)s)")
    slots = parser.parse_args().slots
    queues = ",".join(queue_name(device) for device in ("auto", *settings.devices))
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={slots}", f"--queues={queues}", *quiet])


if __name__ == "__main__":
    main()
