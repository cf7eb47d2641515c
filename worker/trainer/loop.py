"""The training loop: ``train_step`` is all that happens to a batch; the rest decides when to look up from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.trainer.cadence import Cadence
from worker.trainer.checkpoint import META, STATE, WEIGHTS, CheckpointWriter, Restored
from worker.trainer.control import Control, Line, Stop
from worker.trainer.data import Batch, Batches, Part
from worker.trainer.environment import random_state, restore_random_state
from worker.trainer.evaluation import Evaluator
from worker.trainer.failures import StepFailure
from worker.trainer.objective import Objective
from worker.trainer.optim import Schedule, load_optimizer
from worker.trainer.recorder import Recorder

_LOOK_SECONDS = 0.02  # a cancel is seen within so long, or one step
_ENDINGS = {
    "cancel": ("cancelled", "cancel_requested"),
    "pause": ("paused", "paused"),
    "timeout": ("succeeded", "timeout"),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended without failing."""

    outcome: str
    reason: str | None


@dataclass(slots=True)
class Trainer:
    """One model in training; ``step`` counts the optimizer steps made. All its state is in ``state_dict``."""

    model: nn.Module
    parameters: Sequence[nn.Parameter]
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    clip_gradients: Callable[[], Tensor | None]
    batches: Batches
    parts: Mapping[str, Part]
    evaluator: Evaluator
    recorder: Recorder
    writer: CheckpointWriter
    cadence: Cadence
    control: Control
    line: Line
    environment: Mapping[str, Any]
    device: torch.device
    total_steps: int
    step: int = 0
    validated_step: int = 0
    seconds_before: float = 0.0
    _began: float = field(default_factory=time.monotonic)
    _look_at: float = 0.0

    def run(self) -> Ending:
        """Train to the last step, or until told to stop.

        Raises:
            TrainingFailure: what a check of ours found. Exceptions of the model come as they are.
        """
        try:
            self.line.emit({"event": "phase", "phase": "training"})
            self._validate_if_due()  # a pause may have cut the last one short
            while self.step < self.total_steps:
                self._train_epoch()
                self._validate_if_due()
            self._test()
            ending = Ending("succeeded", None)
        except Stop as stop:
            ending = Ending(*_ENDINGS[stop.why])
        if self.step:
            self._checkpoint(final=ending.outcome == "succeeded")
        self.writer.wait()
        return ending

    def _train_epoch(self) -> None:
        for batch in self.batches.rest_of_epoch(self.step):
            if self.step >= self.cadence.next_step or time.monotonic() >= self._look_at:
                self._look()
            if self.schedule.each_step or self.step % self.batches.steps_per_epoch == 0:
                self.recorder.record("learning_rate", self.step + 1, self.schedule.rate)
            self.recorder.record_loss(self.train_step(batch))
            self.step += 1
            if self.step == self.total_steps:
                return
        self.schedule.after_epoch()

    def train_step(self, batch: Batch) -> Tensor:
        """Learn from one batch and return its loss, on the device: nothing here waits for the device."""
        loss, terms = self.objective.compute(self.model(*batch.inputs), batch)
        torch.autograd.backward(loss)
        norm = self.clip_gradients()
        self.optimizer.step()
        for parameter in self.parameters:  # what optimizer.zero_grad() does, without its bookkeeping for the profiler
            parameter.grad = None
        self.schedule.after_step()
        if norm is not None:
            self.recorder.record("train/gradient_norm", self.step + 1, norm)
        for name, term in zip(self.objective.terms, terms, strict=True):
            self.recorder.record(f"train/loss/{name}", self.step + 1, term.detach())
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the weights that decides how training goes on from here."""
        return {
            "step": self.step,
            "validated_step": self.validated_step,
            "elapsed_seconds": self.seconds_before + time.monotonic() - self._began,
            "latest": dict(self.recorder.latest),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": random_state(self.device),
        }

    def load_state_dict(self, restored: Restored) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        state = restored.state
        self.model.load_state_dict(restored.weights)
        self.schedule.load_state_dict(state["schedule"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.step, self.validated_step = state["step"], state["validated_step"]
        self.seconds_before = state["elapsed_seconds"]
        self.recorder.latest = dict(state["latest"])
        self.recorder.start(self.step)
        restore_random_state(state["random"])

    def _look(self) -> None:
        """Between two steps: obey, save, report, where it is time."""
        now = time.monotonic()
        # Until the first step is done look after every step, so that its time is known.
        self._look_at = now + _LOOK_SECONDS if self.recorder.note_first_step(self.step) else now
        self.control.look()
        if self.control.checkpoint_requested or self.cadence.is_due(self.step, now, self.writer.seconds):
            self._checkpoint()
        elif self.recorder.is_due(now):
            self.recorder.flush(self.step)

    def _look_aside(self) -> None:
        """Between two batches of an evaluation: obey, and show that we live."""
        self.control.look()
        if self.recorder.is_due(time.monotonic()):
            self.recorder.flush(self.step)

    def _validate_if_due(self) -> None:
        at_end = self.step == self.total_steps or self.step % self.batches.steps_per_epoch == 0
        if at_end and self.validated_step != self.step:
            self._evaluate("validation")
            self.validated_step = self.step

    def _test(self) -> None:
        if len(self.parts["test"]):
            self.line.emit({"event": "phase", "phase": "evaluating"})
            self._evaluate("test")

    def _evaluate(self, part: str) -> None:
        if len(self.parts[part]):
            for name, value in self.evaluator.evaluate(self.parts[part], self._look_aside).items():
                self.recorder.record(f"{part}/{name}", self.step, value)

    def _checkpoint(self, *, final: bool = False) -> None:
        """Report up to this step, copy the state, and let it be written while training goes on."""
        self.control.checkpoint_requested = False
        self.recorder.flush(self.step)
        self.cadence.written(self.step, time.monotonic())
        if self.recorder.fails_on_non_finite and not self._weights_are_finite():
            if final:
                raise _poisoned(self.step)
            return  # the loss of the next step tells which one it was; the checkpoint before stays the last
        snapshot = self.writer.snapshot(self.step, self.model.state_dict(), self.state_dict(), self.environment)
        self.writer.write(snapshot, self._announcement(final=final))

    def _announcement(self, *, final: bool) -> Callable[[Path], None]:
        event = {
            "event": "checkpoint",
            "step": self.step,
            "epoch": self.recorder.epochs_done(self.step),
            "files": {"weights": WEIGHTS, "state": STATE, "meta": META},
            "metrics": dict(self.recorder.latest),
            "final": final,
        }
        return lambda directory: self.line.emit({**event, "directory": str(directory)})

    def _weights_are_finite(self) -> bool:
        checks = [torch.isfinite(parameter.detach()).all() for parameter in self.model.parameters()]
        return not checks or bool(torch.stack(checks).all())


def _poisoned(step: int) -> StepFailure:
    return StepFailure(
        f"The weights are NaN or infinite after step {step}.",
        step=step,
        code="non_finite_weights",
        hint="Try a smaller learning rate, or gradient_clip; the last checkpoint holds finite weights.",
        pointer="/training/optimizer/lr",
    )
