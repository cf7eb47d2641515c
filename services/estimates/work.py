"""How much work a plan is, in batches: what is trained, and what is evaluated by the share of a step that it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORWARD_SHARE = 1 / 3
"""Of a training step; a backward costs about two forwards (Kaplan et al., 2020, arXiv:2001.08361, table 1)."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one job computes; ``setup`` is what changes the speed of a batch besides model, device and batch size."""

    train_batches: float
    evaluation_batches: float
    batch_size: int
    operations_per_sample: int | None
    setup: dict[str, Any]

    @property
    def batches(self) -> float:
        """Training batches, and the others by what they cost."""
        return self.train_batches + FORWARD_SHARE * self.evaluation_batches

    @property
    def operations(self) -> float | None:
        """Of the forward of one batch."""
        return None if self.operations_per_sample is None else float(self.operations_per_sample) * self.batch_size


def work_of(resolved: Mapping[str, Any], *, operations_per_sample: int | None, steps: int | None = None) -> Work | None:
    """Return the work of a resolved plan, or of its first ``steps``; None while it leaves its batch size open."""
    data, training = resolved["data"], resolved["training"]
    processes = resolved["resources"].get("processes", 1)
    if not isinstance(data["batch_size"], int):
        return None
    made = training["total_steps"] if steps is None else steps
    return Work(
        train_batches=made * _batches(data, "train", drop_last=data["drop_last"]) / training["steps_per_epoch"],
        evaluation_batches=_evaluations(training, made) * _batches(data, "validation") + _batches(data, "test"),
        batch_size=data["batch_size"],
        operations_per_sample=operations_per_sample,
        setup={name: training[name] for name in ("precision", "execution", "reproducible")}
        | {"optimizer": training["optimizer"]["type"]}
        | ({"processes": processes} if processes > 1 else {}),
    )


def _batches(data: Mapping[str, Any], part: str, *, drop_last: bool = False) -> int:
    rows, size = int(data["rows"][part]), int(data["batch_size"])
    return max(1, rows // size) if drop_last else math.ceil(rows / size)


def _evaluations(training: Mapping[str, Any], steps: int) -> int:
    """Return how many there are; the last one is at the end, wherever that is."""
    every = training["evaluate_every"]
    distance = int(every["steps"] or every["epochs"] * training["steps_per_epoch"])
    return math.ceil(steps / distance)
