"""The learning-rate schedule of a plan: torch's own schedulers, moved after steps, epochs or evaluations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

_OWN_MEMBERS = ("type", "interval", "metric", "schedulers")


class Schedule:
    """Moves the learning rates after each step, each epoch or each evaluation, or never.

    ``swa`` (``{"start_epoch", "lr", "anneal_epochs", "anneal_strategy"}``) takes over where averaging begins, if it
    has a rate of its own.
    """

    def __init__(
        self,
        section: Mapping[str, Any] | None,
        optimizer: torch.optim.Optimizer,
        swa: Mapping[str, Any] | None = None,
    ) -> None:
        self._section = section or {}
        self._optimizer = optimizer
        self._swa_section = swa if swa is not None and swa["lr"] is not None else None
        self._swa: lr_scheduler.LRScheduler | None = None
        self._scheduler = _build(self._section, optimizer) if section is not None else None
        self.metric: str | None = self._section.get("metric")
        """The series whose value ``after_evaluation`` needs."""
        self.each_step = self._section.get("interval") == "step"

    @property
    def rates(self) -> list[float]:
        """The learning rates of the next step, one for each group of parameters."""
        return [float(group["lr"]) for group in self._optimizer.param_groups]

    def after_step(self) -> None:
        """An optimizer step is done."""
        if self.each_step and self._scheduler is not None and self._swa is None:
            self._scheduler.step()

    def after_epoch(self, epochs: int) -> None:
        """The last step of an epoch is done; ``epochs`` are, all told."""
        if self._swa_section is not None and epochs >= self._swa_section["start_epoch"]:
            self._anneal(self._swa_section)
        elif self._scheduler is not None and not self.each_step and self.metric is None:
            self._scheduler.step()

    def after_evaluation(self, value: float) -> None:
        """The validation part was evaluated; ``value`` is that of ``metric``."""
        if self._swa is None and isinstance(self._scheduler, lr_scheduler.ReduceLROnPlateau):
            self._scheduler.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs."""
        state = self._scheduler.state_dict() if self._scheduler is not None else {}
        return {"scheduler": state, "swa": self._swa.state_dict() if self._swa is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; restore the optimizer afterwards, for it holds the rates."""
        if self._scheduler is not None:
            self._scheduler.load_state_dict(state["scheduler"])
        if state["swa"] is not None and self._swa_section is not None:
            self._swa = _swalr(self._swa_section, self._optimizer)
            self._swa.load_state_dict(state["swa"])

    def _anneal(self, section: Mapping[str, Any]) -> None:
        if self._swa is None:
            self._swa = _swalr(section, self._optimizer)
        else:
            self._swa.step()


def _swalr(section: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> SWALR:
    arguments = {name: section[name] for name in ("anneal_epochs", "anneal_strategy")}
    return SWALR(optimizer, swa_lr=section["lr"], **arguments)


def _build(section: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
    arguments = {name: value for name, value in section.items() if name not in _OWN_MEMBERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a schedule that is rebuilt for a resume thinks that no step was made yet
        parts = [_build(part, optimizer) for part in section.get("schedulers") or ()]
        kind: Any = getattr(lr_scheduler, section["type"])
        made: lr_scheduler.LRScheduler
        if section["type"] == "ChainedScheduler":
            made = kind(parts, optimizer=optimizer)
        elif section["type"] == "SequentialLR":
            made = kind(optimizer, parts, **arguments)
        else:
            made = kind(optimizer, **arguments)
        return made
