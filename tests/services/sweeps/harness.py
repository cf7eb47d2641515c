"""Sweeps without a worker: a driver over real rows, and a hand that trains jobs by writing down what they found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from services.config import Settings
from services.db.engine import Database
from services.db.models import Job
from services.db.sweep_models import Sweep, SweepTrial
from services.errors import TrainingFailure
from services.jobs import outcomes
from services.jobs.claims import Claim, claim_next
from services.jobs.states import touch
from services.metrics.service import write_points
from services.preflight import Preflight
from services.sweeps import repository, service
from services.sweeps.driver import Means, advance

METRIC = "validation/loss"
STEPS_PER_EPOCH = 23
BASE: dict[str, Any] = {
    "model": "Sequential(Linear(64, 8), ReLU(), Linear(8, 10))",
    "data": {"dataset": "digits", "batch_size": 64},
    "training": {
        "epochs": 9,
        "optimizer": {"type": "SGD", "lr": 0.1},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": ["accuracy"],
    },
}
WIDTHS: dict[str, Any] = {
    "modules": {
        "Net": {
            "parameters": ["first", "second"],
            "init": [{"a": "Linear(64, first)"}, {"b": "Linear(second, 10)"}],
            "forward": ["return self.b(F.relu(self.a(x)))"],
        }
    },
    "model": {"type": "Net", "first": 8, "second": 8},
}
LR = "/training/optimizer/lr"


class SilentDoorbell:
    """Rings nobody."""

    def ring(self, job_id: str, device: str) -> bool:
        return True

    def ring_sweeps(self) -> bool:
        return True


@dataclass
class Rig:
    """A tenant with sweeps, and everything that moves them on."""

    database: Database
    tenant_id: str
    settings: Settings
    preflight: Preflight
    doorbell: Any = field(default_factory=SilentDoorbell)

    @property
    def means(self) -> Means:
        return Means(self.database, self.settings, self.doorbell, lambda: self.preflight)

    def create(self, **members: Any) -> str:
        """Create a sweep over `BASE` and return its id."""
        body = {"base": BASE, "seed": 1, **members}
        with self.database.session() as session:
            made = service.create(
                session,
                tenant_id=self.tenant_id,
                body=body,
                preflight=self.preflight,
                settings=self.settings,
                doorbell=self.doorbell,
            )
        return str(made.sweep["id"])

    def advance(self, sweep_id: str) -> None:
        """Let the driver do what it can do now."""
        while advance(self.means, sweep_id=sweep_id):
            pass

    def get(self, sweep_id: str) -> dict[str, Any]:
        with self.database.read_session() as session:
            return service.get_sweep(session, tenant_id=self.tenant_id, sweep_id=sweep_id)

    def trials(self, sweep_id: str) -> list[SweepTrial]:
        with self.database.read_session() as session:
            return repository.trials(session, sweep_id=sweep_id)

    def states(self, sweep_id: str) -> list[str]:
        return [trial.state for trial in self.trials(sweep_id)]

    def cancel(self, sweep_id: str) -> dict[str, Any]:
        with self.database.session() as session:
            return service.request_cancel(session, tenant_id=self.tenant_id, sweep_id=sweep_id, doorbell=self.doorbell)

    def jobs(self) -> list[Job]:
        with self.database.read_session() as session:
            return list(session.scalars(select(Job).where(Job.tenant_id == self.tenant_id).order_by(Job.id)))

    def claim(self) -> Claim | None:
        """Take the next queued job, as a worker does."""
        with self.database.session() as session:
            claimed = claim_next(session, owner="test/1", devices=["cpu"], lease_seconds=20.0)
        if claimed is not None:
            with self.database.session() as session:
                outcomes.mark_running(session, claimed, environment={}, resume=None)
        return claimed

    def report(self, claimed: Claim, values: Sequence[float], *, first_epoch: int = 1) -> None:
        """Write down the metric of epochs, as a supervisor does."""
        steps = [STEPS_PER_EPOCH * (first_epoch + index) for index in range(len(values))]
        with self.database.session() as session:
            write_points(session, job_id=claimed.job_id, points={METRIC: {"steps": steps, "values": list(values)}})
            job = session.get_one(Job, claimed.job_id)
            job.progress = {
                **job.progress,
                "step": steps[-1],
                "latest": {METRIC: values[-1] if math.isfinite(values[-1]) else None},
            }
            touch(job)

    def succeed(self, claimed: Claim) -> None:
        with self.database.session() as session:
            outcomes.finish_succeeded(session, claimed, reason=None)

    def fail(self, claimed: Claim, code: str = "non_finite_loss") -> None:
        failure = TrainingFailure("It broke.", code=code, failure_class="user", retryable=False, hint="Mend it.")
        with self.database.session() as session:
            outcomes.finish_failed(session, claimed, failure)

    def stop(self, claimed: Claim) -> None:
        with self.database.session() as session:
            outcomes.finish_cancelled(session, claimed)

    def work(self, score: Callable[[dict[str, Any]], float]) -> int:
        """Train all queued jobs to a value that follows from their request, and return how many."""
        done = 0
        while (claimed := self.claim()) is not None:
            with self.database.read_session() as session:
                request = session.get_one(Job, claimed.job_id).request
            self.report(claimed, [score(request)])
            self.succeed(claimed)
            done += 1
        return done

    def run(self, sweep_id: str, score: Callable[[dict[str, Any]], float], *, rounds: int = 200) -> dict[str, Any]:
        """Drive and work in turns until the sweep has ended."""
        for _ in range(rounds):
            self.advance(sweep_id)
            if (view := self.get(sweep_id))["terminal"]:
                return view
            self.work(score)
        raise AssertionError(f"not ended: {self.get(sweep_id)['progress']}")

    def row(self, sweep_id: str) -> Sweep:
        with self.database.read_session() as session:
            return session.get_one(Sweep, sweep_id)


def rate(request: dict[str, Any]) -> float:
    """A score whose best is at a rate of 0.01, in decades."""
    return abs(math.log10(float(request["training"]["optimizer"]["lr"])) + 2)
