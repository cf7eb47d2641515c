"""The batches on which an exported model is compared with the eager one, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from services.modules.samples import free_size

_BATCHES = (2, 5)
_SEED = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One batch in calling order, and what the free sizes are in it."""

    inputs: list[Tensor]
    sizes: dict[str, int]


class Difference:
    """The largest differences seen so far: absolute, and relative to the largest eager entry of the same output."""

    def __init__(self) -> None:
        self._absolute = self._relative = 0.0
        self._batches = 0

    def add(self, eager: Sequence[Tensor], other: Sequence[Tensor]) -> None:
        """Compare one batch; outputs in another number or shape are infinitely far."""
        self._batches += 1
        if [one.shape for one in eager] != [one.shape for one in other]:
            self._absolute = self._relative = float("inf")
            return
        for one, two in zip(eager, other, strict=True):
            if one.numel():
                gap = float((one.double() - two.double()).abs().max())
                self._absolute = max(self._absolute, gap)
                self._relative = max(self._relative, gap / max(float(one.double().abs().max()), 1e-12))

    def to_dict(self) -> dict[str, Any]:
        """Return the public form; None stands for outputs of another shape."""
        finite = self._absolute != float("inf")
        return {
            "max_abs": self._absolute if finite else None,
            "max_rel": self._relative if finite else None,
            "batches": self._batches,
        }


def trials(inputs: Mapping[str, Mapping[str, Any]]) -> Iterator[Trial]:
    """Yield batches of different sizes of random inputs; class numbers stay below their ``classes``."""
    generator = torch.Generator().manual_seed(_SEED)
    for batch in _BATCHES:
        names = {size for one in inputs.values() for size in one["shape"] if isinstance(size, str)}
        sizes = {name: free_size(name, batch) for name in sorted(names)}
        yield Trial([_draw(one, sizes, generator) for one in inputs.values()], sizes)


def flatten(result: object) -> list[Tensor]:
    """Return the tensors of whatever a forward returned, in order."""
    return [leaf for leaf in _pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def _draw(one: Mapping[str, Any], sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
    shape = [sizes[size] if isinstance(size, str) else size for size in one["shape"]]
    dtype: torch.dtype = getattr(torch, one["dtype"])
    if dtype.is_floating_point:
        return torch.rand(shape, generator=generator).to(dtype)
    return torch.randint(0, int(one.get("classes") or 1), shape, generator=generator).to(dtype)
