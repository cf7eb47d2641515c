"""The training loop: ``train_step`` is all that happens to a batch; the rest decides when to look up from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from services.modules.autocast import Autocast
from services.modules.data.parts import Part
from worker.trainer.averaging import Averaging
from worker.trainer.cadence import Cadence
from worker.trainer.checkpoint import CheckpointWriter, Restored
from worker.trainer.control import Control, Line, Stop
from worker.trainer.environment import random_state, restore_random_state
from worker.trainer.evaluation import Evaluator
from worker.trainer.freezing import Held
from worker.trainer.objective import Objective
from worker.trainer.optim import load_optimizer
from worker.trainer.parallel import Ranks
from worker.trainer.recorder import Recorder
from worker.trainer.saving import announcement, is_finite, poisoned
from worker.trainer.schedule import Schedule
from worker.trainer.steps import Window, Windows, shares
from worker.trainer.update import Update
from worker.trainer.watch import Watch

Losses = tuple[Tensor, ...]
"""A loss and its terms, detached."""
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
    forward: Callable[..., Any]
    """What is called in training: the model, or a faster form of it that shares its weights."""
    parameters: Sequence[nn.Parameter]
    held: Held
    objective: Objective
    autocast: Autocast
    optimizer: torch.optim.Optimizer
    update: Update
    schedule: Schedule
    averaging: Averaging
    windows: Windows
    ranks: Ranks
    parts: Mapping[str, Part]
    evaluator: Callable[[nn.Module], Evaluator]
    watch: Watch
    recorder: Recorder
    writer: CheckpointWriter
    cadence: Cadence
    control: Control
    line: Line
    environment: Mapping[str, Any]
    device: torch.device
    total_steps: int
    evaluation_steps: int
    norm_steps: int
    """How many steps lie between two whose gradients' norm is told, where nothing is clipped by it."""
    step: int = 0
    validated_step: int = 0
    saved_step: int | None = None
    """Where this attempt wrote its last checkpoint."""
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
            while self.step < self.total_steps and not self.watch.stopped:
                self._train_epoch()
                self._validate_if_due()
            self.watch.restore(self.averaging.published)
            self.ranks.decide(self._test)
            ending = Ending("succeeded", "early_stopped" if self.watch.stopped else None)
        except Stop as stop:
            ending = Ending(*_ENDINGS[stop.why])
            if ending.outcome == "succeeded":
                self.watch.restore(self.averaging.published)
        if self.step:
            self._checkpoint(final=ending.outcome == "succeeded")
        self.writer.wait()
        return ending

    def _train_epoch(self) -> None:
        for window in self.windows.rest_of_epoch(self.step):
            if self.step >= self.cadence.next_step or time.monotonic() >= self._look_at:
                self._look()
            self._record_rates()
            self.recorder.record_loss(self.train_step(window))
            self.step += 1
            if self.step == self.total_steps:
                break
            if self.step % self.evaluation_steps == 0 and self.step % self.windows.steps_per_epoch:
                self._validate_if_due()
                if self.watch.stopped:
                    return
        if self.step % self.windows.steps_per_epoch == 0:
            self._end_epoch(self.step // self.windows.steps_per_epoch)

    def train_step(self, window: Window) -> Tensor:
        """Make one optimizer step and return its loss, on the device: nothing here waits for the device."""
        found: list[Losses] = []  # one for each evaluation: LBFGS makes several, of which the first is the step's

        def descend() -> Tensor:
            found.append(self.ranks.add_up(self._descend(window), self.parameters))
            return found[-1][0]

        skipped = self.update.skipped
        norm = self.update.step(descend, measure=self.step % self.norm_steps == 0)
        for parameter in self.parameters:  # what optimizer.zero_grad() does, without its bookkeeping for the profiler
            parameter.grad = None
        self.schedule.after_step()
        self.averaging.after_step(self.step + 1)
        if norm is not None:
            self.recorder.record("train/gradient_norm", self.step + 1, norm)
        if self.update.skipped != skipped:
            self.recorder.record("train/skipped_steps", self.step + 1, float(self.update.skipped))
        loss, *terms = found[0]
        for name, term in zip(self.objective.terms, terms, strict=True):
            self.recorder.record(f"train/loss/{name}", self.step + 1, term)
        return loss

    def _descend(self, window: Window) -> Losses:
        """Add the gradients of the loss over a window's rows to the parameters; return it and its terms."""
        parts = []
        for batch, share in zip(window, shares(window), strict=True):
            with self.autocast():
                loss, terms = self.objective.compute(self.forward(*batch.inputs), batch)
            if share < 1 and self.objective.averages:  # the mean over the window, not that of its batches' means
                loss, terms = loss * share, tuple(term * share for term in terms)
            self.update.backward(loss)
            parts.append((loss.detach(), *(term.detach() for term in terms)))
            self.recorder.rows += batch.whole
        return parts[0] if len(parts) == 1 else tuple(torch.stack(column).sum(0) for column in zip(*parts, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the weights that decides how training goes on from here."""
        random = random_state(self.device)
        return {
            "step": self.step,
            "validated_step": self.validated_step,
            "elapsed_seconds": self.seconds_before + time.monotonic() - self._began,
            "latest": dict(self.recorder.latest),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "update": self.update.state_dict(),
            "averaging": self.averaging.state_dict(),
            "watch": self.watch.state_dict(),
            "random": random,
            "others": self.ranks.gather(random),
        }

    def load_state_dict(self, restored: Restored) -> None:
        """Go on from a checkpoint as if nothing had happened."""
        state = restored.state
        self.averaging.load_state_dict(restored.weights, state["averaging"])
        self.update.load_state_dict(state["update"])
        self.watch.load_state_dict(state["watch"])
        self.schedule.load_state_dict(state["schedule"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.step, self.validated_step = state["step"], state["validated_step"]
        self.seconds_before = state["elapsed_seconds"]
        self.recorder.latest = dict(state["latest"])
        self.recorder.start(self.step)
        states = [state["random"], *state.get("others", ())]
        if self.ranks.rank < len(states):
            restore_random_state(states[self.ranks.rank])

    def _look(self) -> None:
        """Between two steps: obey, save, report, where it is time."""
        now = time.monotonic()
        # Until the first step is done look after every step, so that its time is known.
        self._look_at = now + self.ranks.look_seconds if self.recorder.note_first_step(self.step) else now
        if self.ranks.decide(lambda: self._is_checkpoint_due(now)):
            self._checkpoint()
        elif self.recorder.is_due(now):
            self.recorder.flush(self.step)

    def _is_checkpoint_due(self, now: float) -> bool:
        """Obey, and tell whether it is time to save."""
        self.control.look()
        return self.control.checkpoint_requested or self.cadence.is_due(self.step, now, self.writer.seconds)

    def _look_aside(self) -> None:
        """Between two batches of an evaluation: obey, and show that we live."""
        self.control.look()
        if self.recorder.is_due(time.monotonic()):
            self.recorder.flush(self.step)

    def _record_rates(self) -> None:
        """Note the learning rates of the next step where they may have moved; the first group's has no number."""
        after_evaluation = self.schedule.metric is not None and self.step % self.evaluation_steps == 0
        if self.schedule.each_step or after_evaluation or self.step % self.windows.steps_per_epoch == 0:
            for number, rate in enumerate(self.schedule.rates):
                self.recorder.record(f"learning_rate/{number}" if number else "learning_rate", self.step + 1, rate)

    def _end_epoch(self, epochs: int) -> None:
        self.schedule.after_epoch(epochs)
        batches = self.windows.batches
        self.averaging.after_epoch(epochs, lambda: batches.rest_of_epoch((epochs - 1) * batches.steps_per_epoch))

    def _validate_if_due(self) -> None:
        due = self.step == self.total_steps or self.step % self.evaluation_steps == 0
        if not due or self.validated_step == self.step:
            return
        numbers = self.ranks.decide(self._validate)
        self.validated_step = self.step
        if self.schedule.metric:
            self.schedule.after_evaluation(numbers[self.schedule.metric])
        deserves_checkpoint = self.watch.see(numbers, self.step, self.averaging.published)
        if deserves_checkpoint and self.step < self.total_steps:  # the last one comes anyway
            self._checkpoint()

    def _validate(self) -> dict[str, float]:
        """Evaluate the validation part, and return the numbers that training depends on."""
        values = self._evaluate("validation")
        watched = self.watch.metrics | ({self.schedule.metric} if self.schedule.metric else set())
        return {name: float(values[name]) for name in watched}

    def _test(self) -> None:
        if len(self.parts["test"]):
            self.recorder.flush(self.step)  # what was measured in a phase is reported in it
            self.line.emit({"event": "phase", "phase": "evaluating"})
            self._evaluate("test")

    def _evaluate(self, part: str) -> dict[str, Tensor]:
        """Record the loss and metrics over a part of the data, and return them as their series are called."""
        if not len(self.parts[part]):
            return {}
        evaluator = self.evaluator(self.averaging.published)
        try:
            with self.autocast():
                found = evaluator.evaluate(self.parts[part], self._look_aside)
        finally:
            self.held.train(self.model)
        values = {f"{part}/{name}": value for name, value in found.items()}
        for name, value in values.items():
            self.recorder.record(name, self.step, value)
        return values

    def _checkpoint(self, *, final: bool = False) -> None:
        """Report up to this step, copy the state, and let it be written while training goes on."""
        self.control.checkpoint_requested = False
        self.recorder.flush(self.step)
        self.cadence.written(self.step, time.monotonic())
        if self.saved_step == self.step:
            if final:  # nothing has changed since
                self.writer.announce_again(self.step, self._announcement(final=final))
            return
        if self.recorder.fails_on_non_finite and not is_finite(self.model):
            if final:
                raise poisoned(self.step)
            return  # the loss of the next step tells which one it was; the checkpoint before stays the last
        weights = self.averaging.published.state_dict()
        snapshot = self.writer.snapshot(self.step, weights, self.state_dict(), self.environment)
        self.writer.write(snapshot, self._announcement(final=final))
        self.saved_step = self.step

    def _announcement(self, *, final: bool) -> Callable[[Path], None]:
        epoch, best = self.recorder.epochs_done(self.step), self.watch.is_best(self.step)
        return announcement(self.line, self.step, epoch, self.recorder.latest, final=final, best=best)
