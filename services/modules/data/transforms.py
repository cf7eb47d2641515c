"""Transforms of images by kornia, which is imported when there are any.

What varies a training row is drawn anew for each run of rows that training gathers: from seed, epoch and the run's
place in the epoch, for all of its rows. So a resumed run, and each of several processes, draws the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from services.datasets.transforms import transform_classes

_SHARED = ("order", "forward_input_shape")
"""What kornia draws, or notes, for all rows together."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of ``count`` training rows that begins at ``start`` of an epoch; ``ours`` of them are in this process."""

    seed: int
    epoch: int
    start: int
    count: int
    ours: slice | Tensor


class Augmentation(Protocol):
    """A module of kornia."""

    def __call__(self, images: Tensor, params: dict[str, Tensor] | None = None) -> Tensor:
        """Return what it makes of images, with the numbers drawn before or with new ones."""

    def forward_parameters(self, batch_shape: torch.Size) -> dict[str, Tensor]:
        """Draw the numbers for a batch."""


class Transforms:
    """A feature's transforms, in their order; those that vary rows do so in training alone."""

    def __init__(self, name: str, listed: Sequence[Mapping[str, Any]]) -> None:
        self._name = name
        self._listed = listed
        self._modules: dict[int, Augmentation] = {}

    def fixed(self, images: Tensor) -> Tensor:
        """Return images [rows, channels, height, width] as an evaluation or a prediction sees them."""
        with _plainly(images.device):
            for index, one in enumerate(self._listed):
                calm = _calm(one, images.shape)
                if calm is not None:
                    images = self._module(index, calm, is_calm=True)(images)
        return images

    def varied(self, images: Tensor, run: Run) -> Tensor:
        """Return images as training sees them; ``run`` says which rows they are."""
        with _plainly(images.device):
            for index, one in enumerate(self._listed):
                module = self._module(index, one, is_calm=False)
                drawn = self._drawn(module, index, run, images.shape[1:])
                shape = torch.tensor(images.shape)
                ours = {name: _rows(value, run) if name not in _SHARED else value for name, value in drawn.items()}
                on_device = {name: value.to(images.device) for name, value in ours.items()}
                images = module(images, params=on_device | {"forward_input_shape": shape})
        return images

    def _drawn(self, module: Augmentation, index: int, run: Run, row: Sequence[int]) -> dict[str, Tensor]:
        """Return the random numbers of all rows of a run, and leave torch's own generator as it is."""
        text = f"{run.seed}:{run.epoch}:{run.start}:{self._name}:{index}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(number)
        try:
            return module.forward_parameters(torch.Size((run.count, *row)))
        finally:
            torch.set_rng_state(state)

    def _module(self, index: int, one: Mapping[str, Any], *, is_calm: bool) -> Augmentation:
        place = index if is_calm else -1 - index
        if place not in self._modules:
            self._modules[place] = built(one)
        return self._modules[place]


def built(one: Mapping[str, Any]) -> Augmentation:
    """Return kornia's module; whatever it raises for arguments that do not go together comes as it is."""
    import kornia.augmentation as kornia  # noqa: PLC0415 - takes half a second, and few jobs need it

    given = {name: tuple(value) if isinstance(value, list) else value for name, value in one.items() if name != "type"}
    return cast(Augmentation, getattr(kornia, transform_classes()[one["type"]].name)(**given))


def _calm(one: Mapping[str, Any], shape: Sequence[int]) -> Mapping[str, Any] | None:
    """Return what rows that are not varied go through in place of a transform: the middle, or the whole resized."""
    if transform_classes()[one["type"]].fixed:
        return one
    if "size" not in one or list(shape[-2:]) == list(one["size"]):
        return None
    if one["type"] == "RandomCrop":
        return {"type": "CenterCrop", "size": one["size"]}
    return {"type": "Resize", "size": one["size"], "resample": one.get("resample", "bilinear"), "antialias": True}


def _rows(value: Tensor, run: Run) -> Tensor:
    """Return our rows of what was drawn; what is one for all rows stays so."""
    return value[run.ours] if value.dim() and value.shape[0] == run.count else value


@contextmanager
def _plainly(device: torch.device) -> Iterator[None]:
    """In float32 and without gradients, wherever a batch is cut."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield
