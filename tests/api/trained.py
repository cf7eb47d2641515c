"""Checkpoints that were really trained, stored as a worker stores them: without its processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from services.checkpoints import writer
from services.db.engine import Database
from services.db.models import Job
from services.jobs.outcomes import finish_succeeded, mark_running
from tests.factories import claim
from tests.worker.trainer.harness import Line, train


def train_job(database: Database, job_id: str, file: Path | str, folder: Path, sha256: str = "0") -> dict[str, Any]:
    """Train a queued job in this process, store its last checkpoint, and return ids and what the job reported."""
    with database.session() as session:
        job = session.get(Job, job_id)
        assert job is not None
        job.priority = 32_767  # before whatever other tests left in the queue
        resolved = job.resolved
    claimed = claim(database)
    assert claimed.job_id == job_id
    payload = {
        "job_id": job_id,
        "attempt": 1,
        **resolved,
        "data": {**resolved["data"], "file": str(file), "sha256": sha256},
        "device": "cpu",
        "threads": 1,
        "resume": None,
        "output": str(folder / "output"),
    }
    line: Line = train(payload)
    assert line.last["event"] == "finished", line.last
    event = line.of("checkpoint")[-1]
    snapshot = writer.Snapshot(
        Path(event["directory"]),
        tuple(event["files"].values()),
        step=event["step"],
        epoch=event["epoch"],
        final=True,
        metrics=event["metrics"],
    )
    checkpoint_id = writer.store(database, claimed, snapshot, keep=3)
    with database.session() as session:
        mark_running(session, claimed, environment={}, resume=None)
        finish_succeeded(session, claimed, reason=None)
    return {"job_id": job_id, "checkpoint_id": checkpoint_id, "latest": line.last_latest, "folder": folder}
