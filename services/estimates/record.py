"""What a job took, kept at its end for the estimates of others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.estimates import history
from services.estimates.work import work_of


@dataclass(frozen=True, slots=True)
class Pace:
    """What a worker saw of an attempt: on which device, how many steps in how many seconds of training."""

    device: str
    training_seconds: float
    steps: int


def record(session: Session, *, job_id: str, resolved: Mapping[str, Any], pace: Pace, whole: bool) -> None:
    """Keep what a job took that has just ended well in its first attempt; ``whole`` if its plan was not cut short.

    A plan whose batch size was left open is not comparable and not kept.
    """
    work = work_of(resolved, operations_per_sample=None, steps=pace.steps)
    if work is not None and work.batches > 0:
        setup = json.dumps(work.setup)
        seconds = pace.training_seconds
        history.insert(session, job_id=job_id, device=pace.device, work=work, seconds=seconds, setup=setup, whole=whole)
