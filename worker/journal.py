"""Writes down what a trainer says: states, metrics, checkpoints, in short transactions fenced by the claim's epoch."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from services.checkpoints.writer import Snapshot, store
from services.db.engine import Database
from services.db.models import Job
from services.estimates.record import Pace
from services.failpoints import hit
from services.jobs import outcomes
from services.jobs.claims import lock_claimed
from services.jobs.states import add_event, touch
from services.logs.service import write_lines
from services.metrics import service as metrics
from services.telemetry.tracing import Phases
from worker.lease import Lease
from worker.log_lines import LogLines

Event = dict[str, Any]
_LAST = ("finished", "failed")
GATHER_SECONDS = 0.1
COMPACT_REPORTS = 64
"""After so many reports their metrics are put together."""


class Journal:
    """The record of one attempt; ``last`` is the trainer's last word once it was heard."""

    def __init__(self, lease: Lease, database: Database) -> None:
        self.last: Event = {}
        self._lease = lease
        self._claim = lease.claim
        self._database = database
        self._gathered: list[Event] = []
        self._gather_until = 0.0
        self._stored: Path | None = None
        self._device = ""
        self._training_since: float | None = None
        self._reports = 0
        self._lines = LogLines(self._claim.attempt)
        self._phases = Phases()
        self._light: dict[str, Callable[[Session, Event], None]] = {
            "started": self._started,
            "phase": self._phase,
            "metrics": self._metrics,
            "weights_loaded": self._weights_loaded,
            "batch_size": self._batch_size,
            "execution": self._execution,
            "log": self._log,
        }

    def record(self, events: list[Event]) -> bool:
        """Write events down in order; True when the trainer has said its last word.

        Small events are gathered for `GATHER_SECONDS`, so that the beginning of a job costs one transaction and not
        five; call this often, with nothing too. Each write is safe to repeat.

        Raises:
            Fenced: another worker owns the job.
        """
        for event in events:
            self._note(event)
            lines = self._lines.of(event)
            if event["event"] in self._light:
                self._gathered.append(event)
            if lines:
                self._gathered.append({"event": "log", "lines": lines})
            if event["event"] in self._light or event["event"] == "warning":
                continue
            self._write_gathered()
            if event["event"] == "checkpoint":
                self._checkpoint(event)
            elif event["event"] in _LAST:
                self.last = event
                return True
        if not self._gathered:
            self._gather_until = time.monotonic() + GATHER_SECONDS
        elif time.monotonic() >= self._gather_until:
            self._write_gathered()
        return False

    @property
    def pace(self) -> Pace | None:
        """How fast training went up to now, once the trainer has said its last word; None if it never began."""
        if self._training_since is None:
            return None
        return Pace(self._device, time.monotonic() - self._training_since, int(self.last["step"]))

    def close(self) -> None:
        """End what is traced of the attempt."""
        self._phases.end()

    def rewind(self, session: Session, *, step: int, corrupt: list[str]) -> None:
        """Forget the metrics after ``step``, from which this attempt goes on."""
        job = lock_claimed(session, self._claim)
        metrics.rewind(session, job_id=job.id, step=step)
        hit("in_rewind")
        for checkpoint_id in corrupt:
            add_event(session, job, "job.checkpoint_corrupt", {"checkpoint_id": checkpoint_id})

    def _write_gathered(self) -> None:
        events, self._gathered = self._gathered, []

        def action(session: Session) -> None:
            for event in events:
                self._light[event["event"]](session, event)
            session.flush()
            hit("in_events")

        if events:
            self._lease.write(action)
            hit("after_events")
            self._compact(sum(event["event"] == "metrics" for event in events))
        self._gather_until = time.monotonic() + GATHER_SECONDS

    def _compact(self, reports: int) -> None:
        self._reports += reports
        if self._reports >= COMPACT_REPORTS:
            self._reports = 0
            self._lease.write(lambda session: metrics.compact(session, job_id=lock_claimed(session, self._claim).id))

    def _note(self, event: Event) -> None:
        """Remember what the pace is made of, when it is heard and not when it is written."""
        if event["event"] == "started":
            self._device = event["environment"]["device"]
        elif event["event"] == "phase":
            self._phases.enter(f"job.{event['phase']}")
            if event["phase"] == "training":
                self._training_since = time.monotonic()
        elif "first_step_at" in event:
            self._phases.tell("first step")
        elif event["event"] in _LAST:
            self._phases.end(step=event.get("step"))

    def _started(self, session: Session, event: Event) -> None:
        resumed = event.get("resumed_from_step") is not None
        resume = event.get("resume", "exact") if resumed else None
        environment = {**event["environment"], "pid": event["pid"], "isolation": event.get("isolation", [])}
        outcomes.mark_running(session, self._claim, environment=environment, resume=resume)

    def _log(self, session: Session, event: Event) -> None:
        job = lock_claimed(session, self._claim)
        write_lines(session, job_id=job.id, attempt=self._claim.attempt, lines=event["lines"])

    def _phase(self, session: Session, event: Event) -> None:
        job = lock_claimed(session, self._claim)
        job.phase = event["phase"]
        touch(job)

    def _execution(self, session: Session, event: Event) -> None:
        """Keep how the job trains; an attempt that says the same again adds no event."""
        job = lock_claimed(session, self._claim)
        said = {name: value for name, value in event.items() if name != "event"}
        if job.execution != said:
            job.execution = said
            add_event(session, job, "job.execution", {"attempt": self._claim.attempt, **said})
            touch(job)

    def _metrics(self, session: Session, event: Event) -> None:
        job = lock_claimed(session, self._claim)
        metrics.write_points(session, job_id=job.id, points=event["series"])
        hit("in_metrics")
        job.progress = _progress(job, event)
        if "first_step_at" in event:
            add_event(session, job, "job.first_step", {"attempt": self._claim.attempt, "at": event["first_step_at"]})
        touch(job)

    def _weights_loaded(self, session: Session, event: Event) -> None:
        job = lock_claimed(session, self._claim)
        start = self._claim.resolved["init_from"]
        counts = {name: len(found) for name, found in start["report"].items()}
        add_event(session, job, "job.weights_loaded", {"checkpoint_id": start["checkpoint"], **counts})

    def _batch_size(self, session: Session, event: Event) -> None:
        """Note what the plan left open and the trainer found, before any step of it: later attempts keep to it."""
        job = lock_claimed(session, self._claim)
        resolved = self._claim.resolved
        job.resolved = {
            **resolved,
            "data": {**resolved["data"], "batch_size": event["batch_size"]},
            "training": event["training"],
        }
        add_event(session, job, "job.batch_size", {"batch_size": event["batch_size"]})
        touch(job)

    def _checkpoint(self, event: Event) -> None:
        snapshot = Snapshot(
            directory=Path(event["directory"]),
            files=tuple(event["files"].values()),
            step=event["step"],
            epoch=event["epoch"],
            final=event["final"],
            metrics=_finite(event["metrics"]),
            best=event.get("best", False),
        )
        keep = self._claim.resolved["checkpoints"]["keep"]
        with self._lease.kept():  # many bytes, or a slow store, take longer than a lease
            self._lease.steadily(lambda: store(self._database, self._claim, snapshot, keep=keep))
        self._drop_older(snapshot.directory)

    def _drop_older(self, stored: Path) -> None:
        """Delete the folder of the checkpoint before; the newest stays, for it may be announced again as the last."""
        if self._stored is not None and self._stored != stored:
            shutil.rmtree(self._stored, ignore_errors=True)
        self._stored = stored


def _progress(job: Job, event: Event) -> dict[str, Any]:
    total = event["total_steps"]
    return {
        "epoch": event["epoch"],
        "total_epochs": event["total_epochs"],
        "step": event["step"],
        "total_steps": total,
        "percent": round(100 * event["step"] / total, 2) if total else None,
        "steps_per_second": event["steps_per_second"],
        "latest": {**(job.progress or {}).get("latest", {}), **_finite(event["latest"])},
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with null for what JSON cannot say."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
