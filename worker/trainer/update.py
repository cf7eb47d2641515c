"""How gradients become a step: plainly, scaled for float16, only where finite, or by an optimizer that asks for more.

An update is given ``descend``, which puts the gradients of the step's rows into the parameters and returns the loss. It
clips them, moves the weights, and returns the gradients' norm where that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from services.errors import TrainingFailure, user_failure
from worker.trainer.optim import build_clip, has_sparse_gradients, quick_step

MAX_SKIPPED_IN_A_ROW = 100
Descend = Callable[[], Tensor]
Clip = Callable[[], Tensor | None]


@dataclass(slots=True)
class Update:
    """The plain one. ``measured`` are the parameters whose gradients' norm can be told."""

    optimizer: torch.optim.Optimizer
    clip: Clip
    measured: Sequence[nn.Parameter]
    skipped: int = 0
    """Steps that were left out, all told."""
    _quick_step: Callable[[], None] | None = None
    _one: Tensor | None = None
    """The gradient of a loss by itself, made once."""

    def step(self, descend: Descend, *, measure: bool) -> Tensor | None:
        """Make one step; with ``measure`` the norm is told also where nothing is clipped by it."""
        descend()
        norm = self.bounded(measure=measure)
        self.move()
        return norm

    def move(self) -> None:
        """Let the optimizer move the weights: the first time by its public method, for which schedulers watch."""
        if self._quick_step is None:
            self.optimizer.step()
            self._quick_step = quick_step(self.optimizer)
        else:
            self._quick_step()

    def bounded(self, *, measure: bool) -> Tensor | None:
        """Clip the gradients and return the norm they had."""
        norm = gradient_norm(self.measured) if measure else None
        clipped = self.clip()
        return norm if clipped is None else clipped

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to the parameters."""
        scaled = self.scaled(loss)
        if scaled.dim():  # a loss that was a number once: torch says what is wrong
            torch.autograd.backward(scaled)
            return
        if self._one is None or self._one.dtype != scaled.dtype:
            self._one = torch.ones_like(scaled)
        torch.autograd.backward(scaled, self._one)

    def scaled(self, loss: Tensor) -> Tensor:
        """Return what gradients are taken of."""
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""


class ScaledUpdate(Update):
    """For float16: the loss is scaled so that small gradients survive; steps whose gradients overflow are left out."""

    __slots__ = ("scaler",)

    def __init__(self, optimizer: torch.optim.Optimizer, clip: Clip, measured: Sequence[nn.Parameter]) -> None:
        super().__init__(optimizer, clip, measured)
        self.scaler = torch.amp.GradScaler(next(iter(optimizer.param_groups[0]["params"])).device.type)

    def step(self, descend: Descend, *, measure: bool) -> Tensor | None:
        """Make one step, or leave it out and scale less."""
        descend()
        self.scaler.unscale_(self.optimizer)
        norm = self.bounded(measure=measure)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale."""
        return self.scaler.scale(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and when it grows."""
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a saved scale."""
        self.scaler.load_state_dict(state)


class GuardedUpdate(Update):
    """Leaves out steps whose loss or gradients are NaN or infinite, before weights or buffers keep anything of them.

    Asking whether they are waits for the device: the price of the policy ``skip``.
    """

    __slots__ = ("_buffers", "_in_a_row")

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        clip: Clip,
        measured: Sequence[nn.Parameter],
        buffers: Sequence[Tensor],
    ) -> None:
        super().__init__(optimizer, clip, measured)
        self._buffers = buffers
        self._in_a_row = 0

    def step(self, descend: Descend, *, measure: bool) -> Tensor | None:
        """Make one step if it is finite.

        Raises:
            TrainingFailure: ``non_finite_loss``, when nothing but such steps has come for long.
        """
        before = [buffer.clone() for buffer in self._buffers]
        loss = descend()
        norm = gradient_norm(self.measured)
        if bool(torch.isfinite(loss) & torch.isfinite(norm)):
            self.clip()
            self.move()
            self._in_a_row = 0
            return norm
        for buffer, old in zip(self._buffers, before, strict=True):
            buffer.copy_(old)
        self.skipped += 1
        self._in_a_row += 1
        if self._in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise _nothing_but_skipped()
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"skipped": self.skipped, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting."""
        self.skipped, self._in_a_row = state["skipped"], state["in_a_row"]


class ClosureUpdate(Update):
    """For LBFGS, which evaluates loss and gradients as often as its line search needs."""

    __slots__ = ()

    def step(self, descend: Descend, *, measure: bool) -> Tensor | None:
        """Make one step; ``descend`` is called several times, the first time with the weights before the step."""

        def closure() -> Tensor:
            self.optimizer.zero_grad()
            return descend()

        self.optimizer.step(closure)  # type: ignore[arg-type] # typed for floats; takes tensors
        return gradient_norm(self.measured) if measure else None


def build_update(plan: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> Update:
    """Return the update that a plan asks for."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    clip = build_clip(plan["gradient_clip"], parameters)
    measured = [] if has_sparse_gradients(model) else parameters
    if plan["precision"] == "fp16":
        return ScaledUpdate(optimizer, clip, measured)
    if isinstance(optimizer, torch.optim.LBFGS):
        return ClosureUpdate(optimizer, clip, measured)
    if plan["on_non_finite"] == "skip":
        return GuardedUpdate(optimizer, clip, measured, list(model.buffers()))
    return Update(optimizer, clip, measured)


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the 2-norm of all gradients taken together."""
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def _nothing_but_skipped() -> TrainingFailure:
    return user_failure(
        "non_finite_loss",
        f"{MAX_SKIPPED_IN_A_ROW} steps in a row had a loss or gradients that are NaN or infinite.",
        hint="Try a smaller learning rate, or gradient_clip; the last checkpoint holds finite weights.",
        pointer="/training/optimizer/lr",
    )
