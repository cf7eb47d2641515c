"""Optimizer, learning-rate schedule and gradient clipping of a plan, in torch's fastest form for the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from worker.trainer.failures import user_failure

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    kind.__name__: kind
    for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad)
}
_FUSED = {"cpu": ("SGD", "Adam", "AdamW", "Adagrad"), "cuda": ("SGD", "Adam", "AdamW")}
_SCHEDULERS: dict[str, type[lr_scheduler.LRScheduler]] = {
    kind.__name__: kind
    for kind in (
        lr_scheduler.StepLR,
        lr_scheduler.MultiStepLR,
        lr_scheduler.ExponentialLR,
        lr_scheduler.ConstantLR,
        lr_scheduler.LinearLR,
        lr_scheduler.PolynomialLR,
        lr_scheduler.CosineAnnealingLR,
        lr_scheduler.CosineAnnealingWarmRestarts,
        lr_scheduler.OneCycleLR,
    )
}
# How torch computes, not what: a resumed optimizer keeps its own.
_IMPLEMENTATION = ("fused", "foreach", "capturable", "differentiable")


def build_optimizer(section: Mapping[str, Any], parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer over ``parameters``.

    Raises:
        TrainingFailure: ``no_trainable_parameters``.
    """
    if not parameters:
        hint = "Add a layer with weights, or make one trainable."
        raise user_failure(
            "no_trainable_parameters", "The model has no parameter to train.", hint=hint, pointer="/model"
        )
    arguments = {name: value for name, value in section.items() if name != "type"}
    if "betas" in arguments:
        arguments["betas"] = tuple(arguments["betas"])
    return _OPTIMIZERS[section["type"]](parameters, **arguments, **_implementation(section["type"], parameters))


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's state, also one that was saved on another kind of device."""
    own = [{name: group[name] for name in _IMPLEMENTATION if name in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, flags in zip(optimizer.param_groups, own, strict=True):
        group.update(flags)


class Schedule:
    """Moves the learning rate after each step or each epoch, or never."""

    def __init__(self, section: Mapping[str, Any] | None, optimizer: torch.optim.Optimizer) -> None:
        self.each_step = section is not None and section["interval"] == "step"
        self._optimizer = optimizer
        self._scheduler = _build_scheduler(section, optimizer) if section is not None else None

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def after_step(self) -> None:
        """An optimizer step is done."""
        if self.each_step and self._scheduler is not None:
            self._scheduler.step()

    def after_epoch(self) -> None:
        """The last step of an epoch is done."""
        if not self.each_step and self._scheduler is not None:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return self._scheduler.state_dict() if self._scheduler is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; restore the optimizer afterwards, for it holds the rates."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state)


def build_clip(section: Mapping[str, Any] | None, parameters: Sequence[nn.Parameter]) -> Callable[[], Tensor | None]:
    """Return what bounds the gradients before each step: it returns their norm where that is known."""
    if section is None:
        return lambda: None
    if section["norm"] is not None:
        return lambda: nn.utils.clip_grad_norm_(parameters, section["norm"])

    def clip_values() -> None:
        nn.utils.clip_grad_value_(parameters, section["value"])

    return clip_values


def _build_scheduler(section: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    arguments = {name: value for name, value in section.items() if name not in ("type", "interval")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a schedule that is rebuilt for a resume thinks that no step was made yet
        return _SCHEDULERS[section["type"]](optimizer, **arguments)


def _implementation(kind: str, parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
    device = parameters[0].device.type
    if kind in _FUSED.get(device, ()) and all(p.is_floating_point() and p.device.type == device for p in parameters):
        return {"fused": True}
    return {"foreach": True}
