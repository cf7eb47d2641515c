"""Averages of the weights beside the weights themselves: exponential (EMA), or of the late epochs (SWA).

The arithmetic is that of ``torch.optim.swa_utils``. What is evaluated and saved is the average, once there is one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from services.modules.data.parts import Batch
from worker.trainer.freezing import Held

_Average = Callable[[list[Tensor], list[Tensor], Any], None]


class Averaging:
    """Nothing is averaged: the weights are what is evaluated and saved."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @property
    def published(self) -> nn.Module:
        """The module that is evaluated and saved."""
        return self.model

    def after_step(self, step: int) -> None:
        """The optimizer step number ``step`` (from 1) is done."""

    def after_epoch(self, epochs: int, batches: Callable[[], Iterable[Batch]]) -> None:
        """The last step of an epoch is done; ``batches`` are those that train."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs besides the weights that are saved."""
        return {}

    def load_state_dict(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from saved weights and state."""
        self.model.load_state_dict(weights)


class _Averaged(Averaging):
    """Keeps an average in a module of its own."""

    def __init__(self, model: nn.Module, average: _Average, *, use_buffers: bool = False) -> None:
        super().__init__(model)
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.count = 0
        """How many times weights were taken in."""
        self._average = average
        buffers = list(zip(self.module.buffers(), model.buffers(), strict=True))
        weights = list(zip(self.module.parameters(), model.parameters(), strict=True))
        self._averaged = weights + [pair for pair in buffers if use_buffers and pair[0].is_floating_point()]
        self._copied = [pair for pair in buffers if not (use_buffers and pair[0].is_floating_point())]
        self._kinds = list({mine.dtype for mine, _ in self._averaged})  # torch averages one dtype at a time

    @property
    def published(self) -> nn.Module:
        """The averaged module, once weights were taken in."""
        return self.module if self.count else self.model

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are."""
        for mine, theirs in self._copied if self.count else self._copied + self._averaged:
            mine.copy_(theirs)
        for kind in self._kinds if self.count else ():
            same = [pair for pair in self._averaged if pair[0].dtype == kind]
            self._average([mine for mine, _ in same], [theirs.detach() for _, theirs in same], self.count)
        self.count += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the count, and the weights themselves once the average is what is saved."""
        return {"count": self.count, "model": dict(self.model.state_dict()) if self.count else None}

    def load_state_dict(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on with both."""
        self.count = state["count"]
        self.model.load_state_dict(state["model"] if self.count else weights)
        self.module.load_state_dict(weights)


class Ema(_Averaged):
    """An exponential moving average, updated every so many steps."""

    def __init__(self, model: nn.Module, section: Mapping[str, Any]) -> None:
        average = get_ema_multi_avg_fn(section["decay"])  # type: ignore[no-untyped-call]
        super().__init__(model, average, use_buffers=section["use_buffers"])
        self._every = section["every"]

    def after_step(self, step: int) -> None:
        """Update the average, where that is due."""
        if step % self._every == 0:
            self.update()


class Swa(_Averaged):
    """The mean of the weights at the end of each epoch from the start on; ``held`` normalisations keep theirs."""

    def __init__(self, model: nn.Module, section: Mapping[str, Any], held: Held) -> None:
        super().__init__(model, get_swa_multi_avg_fn())  # type: ignore[no-untyped-call]
        self._start = section["start_epoch"]
        self._held = held

    def after_epoch(self, epochs: int, batches: Callable[[], Iterable[Batch]]) -> None:
        """Take in the weights, and give the average statistics of its own where it normalises batches."""
        if epochs >= self._start:
            self.update()
            renew_statistics(self.module, batches(), self._held)


def build_averaging(model: nn.Module, plan: Mapping[str, Any], held: Held) -> Averaging:
    """Return what a plan asks for."""
    if plan["ema"] is not None:
        return Ema(model, plan["ema"])
    return Swa(model, plan["swa"], held) if plan["swa"] is not None else Averaging(model)


@torch.no_grad()
def renew_statistics(model: nn.Module, batches: Iterable[Batch], held: Held) -> None:
    """Compute the running statistics of batch normalisation anew, as ``torch.optim.swa_utils.update_bn`` does.

    That one calls a model with one input; ours may have several. Random generators are left as they were.
    """
    norms = [module for module in held.others(model) if module.track_running_stats]
    if not norms:
        return
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over all batches
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        held.train(model)
        for batch in batches:
            model(*batch.inputs)
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum
