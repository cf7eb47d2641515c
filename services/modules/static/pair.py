"""Runs a captured model beside the dynamic one: equal results, equal gradients, other batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Inputs = list[Any]
Call = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """A model and its static variant with equal weights; each run begins from the same buffers and seed."""

    dynamic: nn.Module
    static: nn.Module
    buffers: dict[str, Tensor]
    seed: int

    @classmethod
    def of(cls, dynamic: nn.Module, static: nn.Module, seed: int) -> Pair:
        """Give the static variant the weights and the mode of the dynamic model."""
        static.to(next((p.dtype for p in dynamic.parameters() if p.is_floating_point()), torch.float32))
        static.load_state_dict(dynamic.state_dict())
        static.train(dynamic.training)
        return cls(dynamic, static, {name: one.detach().clone() for name, one in dynamic.named_buffers()}, seed)

    def run(self, call: Call, inputs: Inputs) -> Any:  # noqa: ANN401 - whatever forward returns
        """Run once; inputs are copied, for forward may write to them."""
        self._restore()
        return call(*(one.clone() if isinstance(one, Tensor) else one for one in inputs))

    def gradients(self, call: Call, inputs: Inputs) -> list[Tensor | None]:
        """Return the gradients of the sum of all outputs with respect to the parameters, or [] where there is none."""
        outputs = [one for one in tensors(self.run(call, inputs)) if one.requires_grad]
        parameters = [one for one in self.parameters(call) if one.requires_grad]
        if not outputs or not parameters:
            return []
        total = torch.stack([one.sum().to(torch.float64) for one in outputs]).sum()
        return list(torch.autograd.grad(total, parameters, allow_unused=True))

    def parameters(self, call: Call) -> list[nn.Parameter]:
        """Return the parameters that a call uses: the dynamic model's, or the variant's."""
        return list((self.dynamic if call is self.dynamic else self.static).parameters())

    def _restore(self) -> None:
        for model in (self.dynamic, self.static):
            for path, kept in self.buffers.items():
                owner, _, name = path.rpartition(".")
                model.get_submodule(owner)._buffers[name] = kept.clone()
        torch.manual_seed(self.seed)


def tensors(value: object) -> list[Tensor]:
    """Return the tensors in a value, nested ones included."""
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [one for item in items for one in tensors(item)]


def difference(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> float:
    """Return the largest absolute difference, infinity where shapes differ; NaN against NaN is none, and so is no
    gradient against a zero one (see `zero_for_none`).
    """
    if len(left) != len(right):
        return math.inf
    return max((_one(a, b) for a, b in zip(left, right, strict=True)), default=0.0)


def zero_for_none(wanted: Sequence[Tensor | None], found: Sequence[Tensor | None]) -> int:
    """Count the gradients that are zero in the graph and absent in the model: of the layers in a way not taken."""
    return sum(a is None and b is not None for a, b in zip(wanted, found, strict=True))


def other_values(inputs: Inputs, seed: int) -> Inputs:
    """Return inputs of the same shapes with other values."""
    generator = torch.Generator().manual_seed(seed + 1)
    return [_moved(one, generator) if isinstance(one, Tensor) else one for one in inputs]


def other_size(inputs: Inputs, axes: Sequence[bool], seed: int) -> Inputs:
    """Return inputs with one more row where ``axes`` says that the first dimension is the batch."""
    longer = [
        torch.cat([one, one[:1]]) if isinstance(one, Tensor) and grows else one
        for one, grows in zip(inputs, axes, strict=True)
    ]
    return other_values(longer, seed)


def _one(left: Tensor | None, right: Tensor | None) -> float:
    if left is None or right is None:
        other = right if left is None else left
        return 0.0 if other is None or not bool(other.any()) else math.inf
    if left.shape != right.shape:
        return math.inf
    a, b = left.detach().to(torch.float64), right.detach().to(torch.float64)
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, torch.zeros_like(a), (a - b).abs())
    return float(torch.nan_to_num(gap, nan=math.inf).max()) if gap.numel() else 0.0


def _moved(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point():
        rows = torch.randperm(tensor.shape[0], generator=generator) if tensor.dim() else None
        return tensor if rows is None else tensor[rows]
    noise = torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
    return tensor.detach() * 0.5 + noise
