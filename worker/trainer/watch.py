"""Follows metrics from evaluation to evaluation: when to stop, which evaluation was the best, and its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Best:
    """The best value of one series so far."""

    def __init__(self, section: Mapping[str, Any]) -> None:
        self.metric: str = section["metric"]
        self.value: float | None = None
        self.step: int | None = None
        self.without_progress = 0
        """Evaluations since then."""
        self._sign = 1.0 if section["mode"] == "max" else -1.0
        self._min_delta: float = section.get("min_delta", 0.0)

    def see(self, value: float, step: int) -> bool:
        """Take in the value at an evaluation, and tell whether it is the best yet; NaN never is."""
        better = not math.isnan(value) and (self.value is None or self._sign * (value - self.value) > self._min_delta)
        if better:
            self.value, self.step, self.without_progress = value, step, 0
        else:
            self.without_progress += 1
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {"value": self.value, "step": self.step, "without_progress": self.without_progress}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.value, self.step, self.without_progress = state["value"], state["step"], state["without_progress"]


class Watch:
    """What the plan watches: ``early_stopping`` and the best checkpoint, either of which may restore weights."""

    def __init__(self, early_stopping: Mapping[str, Any] | None, best: Mapping[str, Any] | None) -> None:
        self._stopping = Best(early_stopping) if early_stopping else None
        self._best = Best(best) if best else None
        self._patience = early_stopping["patience"] if early_stopping else 0
        self._restorer = (
            self._stopping
            if early_stopping and early_stopping["restore_best"]
            else self._best
            if best and best["restore"]
            else None
        )
        self._kept: dict[str, Tensor] = {}

    @property
    def metrics(self) -> set[str]:
        """The series that are watched."""
        return {one.metric for one in (self._stopping, self._best) if one is not None}

    @property
    def stopped(self) -> bool:
        """Whether it is time to stop early."""
        return self._stopping is not None and self._stopping.without_progress >= self._patience

    def is_best(self, step: int) -> bool:
        """Tell whether the best checkpoint is the one of ``step``."""
        return self._best is not None and self._best.step == step

    def see(self, values: Mapping[str, float], step: int, model: nn.Module) -> bool:
        """Take in an evaluation of ``model``; tell whether it deserves a checkpoint."""
        news = {one: one.see(values[one.metric], step) for one in (self._stopping, self._best) if one is not None}
        if self._restorer is not None and news[self._restorer]:
            self._kept = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
        return self._best is not None and news[self._best]

    def restore(self, model: nn.Module) -> None:
        """Give ``model`` the weights of the best evaluation, if that was asked for."""
        if self._kept:
            model.load_state_dict(self._kept)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs."""
        watched = {"stopping": self._stopping, "best": self._best}
        states = {name: one.state_dict() if one is not None else None for name, one in watched.items()}
        return {**states, "kept": dict(self._kept)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        for name, one in (("stopping", self._stopping), ("best", self._best)):
            if one is not None:
                one.load_state_dict(state[name])
        self._kept = dict(state["kept"])
