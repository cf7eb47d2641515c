"""Collects what training measures, as tensors, and reports it now and then: one read of the device a report."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from worker.trainer.control import Line
from worker.trainer.failures import StepFailure
from worker.trainer.machine import memory, speed

FLUSH_SECONDS = 0.5
_HEARTBEAT_SECONDS = 10.0
LOSS = "train/loss"


class Recorder:
    """Series of points; the loss has one for every step.

    ``latest`` holds the newest value of each series, as of the last flush.
    """

    def __init__(
        self, line: Line, *, total_steps: int, total_epochs: int, steps_per_epoch: int, fails_on_non_finite: bool
    ) -> None:
        self.latest: dict[str, float] = {}
        self._line = line
        self._total_steps = total_steps
        self._total_epochs = total_epochs
        self._steps_per_epoch = steps_per_epoch
        self.fails_on_non_finite = fails_on_non_finite
        self._series: dict[str, tuple[list[int], list[float | Tensor]]] = {}
        self._losses: list[Tensor] = []
        self._loss_from = 0
        self._flushed_at = time.monotonic()
        self._flushed_step = 0
        self._rate = 0.0
        self.rows = 0
        """Rows trained on in this attempt; the trainer counts."""
        self._flushed_rows = 0
        self.record_loss = self._losses.append
        self._told_first_step = False
        self.first_step_at: str | None = None
        """When this attempt's first step was seen to be done (RFC 3339); told once, with the next flush."""

    def start(self, step: int) -> None:
        """Begin at ``step`` (0, or where a resume goes on)."""
        self._loss_from = self._flushed_step = step
        self._flushed_at = time.monotonic()

    def record(self, name: str, step: int, value: float | Tensor) -> None:
        """Add one point; a tensor is read at the next flush."""
        steps, values = self._series.setdefault(name, ([], []))
        steps.append(step)
        values.append(value)

    def note_first_step(self, step: int) -> bool:
        """Note the time if ``step`` is the first that is seen done; return whether one has been."""
        if self.first_step_at is None and step > self._loss_from:
            self.first_step_at = datetime.now(UTC).isoformat()
        return self.first_step_at is not None

    def is_due(self, now: float) -> bool:
        """Tell whether it is time for a flush."""
        return now - self._flushed_at >= FLUSH_SECONDS

    def flush(self, step: int) -> None:
        """Report everything up to ``step``.

        Raises:
            StepFailure: ``non_finite_loss`` with the first step whose loss is NaN or infinite; what was measured
                up to there is reported first.
        """
        self.note_first_step(step)
        series, failure = self._collect()
        now = time.monotonic()
        if not series and now - self._flushed_at < _HEARTBEAT_SECONDS and step == self._flushed_step:
            return
        self.latest |= {name: points["values"][-1] for name, points in series.items()}
        if now > self._flushed_at and step > self._flushed_step:
            rates = speed(step - self._flushed_step, self.rows - self._flushed_rows, now - self._flushed_at)
            self._rate = rates["system/steps_per_second"]
            at = step if failure is None else failure.step
            series |= {name: {"steps": [at], "values": [value]} for name, value in {**rates, **memory()}.items()}
        self._flushed_at, self._flushed_step, self._flushed_rows = now, step, self.rows
        self._line.emit(self._event(step, series))
        if failure is not None:
            raise failure

    def epochs_done(self, step: int) -> int:
        """Return how many epochs are complete; the last one also when the plan cuts it short."""
        return self._total_epochs if step >= self._total_steps else step // self._steps_per_epoch

    def _event(self, step: int, series: dict[str, Any]) -> dict[str, Any]:
        news = {} if self._told_first_step or self.first_step_at is None else {"first_step_at": self.first_step_at}
        self._told_first_step = self._told_first_step or bool(news)
        return {
            "event": "metrics",
            "step": step,
            "epoch": self.epochs_done(step),
            "total_steps": self._total_steps,
            "total_epochs": self._total_epochs,
            "steps_per_second": round(self._rate, 3),
            "series": series,
            "latest": dict(self.latest),
            **news,
        }

    def _collect(self) -> tuple[dict[str, Any], StepFailure | None]:
        """Read what is waiting, up to the first step whose loss is not finite."""
        failure, last = None, math.inf
        series: dict[str, Any] = {}
        if self._losses:
            values = torch.stack(self._losses).double().tolist()
            first = self._loss_from + 1
            if self.fails_on_non_finite and not all(map(math.isfinite, values)):
                failure = _non_finite(first, values)
                last = failure.step
                values = values[: failure.step - first + 1]
            series[LOSS] = {"steps": list(range(first, first + len(values))), "values": values}
            self._loss_from += len(self._losses)
            self._losses.clear()
        for name, (steps, raw) in self._series.items():
            kept = sum(step <= last for step in steps)
            if kept:
                series[name] = {"steps": steps[:kept], "values": _read(raw[:kept])}
        self._series = {}
        return series, failure


def _read(values: list[float | Tensor]) -> list[float]:
    """Return the numbers; all tensors of a series are read in one go."""
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) < len(values):
        return [float(value) for value in values]
    found: list[float] = torch.stack(tensors).double().tolist()
    return found


def _non_finite(first_step: int, values: list[float]) -> StepFailure:
    index = next(index for index, value in enumerate(values) if not math.isfinite(value))
    step = first_step + index
    return StepFailure(
        f"The loss is {values[index]} at step {step}.",
        step=step,
        code="non_finite_loss",
        hint="Try a smaller learning rate, or gradient_clip; the last checkpoint holds finite weights.",
        pointer="/training/optimizer/lr",
    )
