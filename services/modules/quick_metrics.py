"""The quick metrics: sums that stay tensors on the device, read once at the end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_Sums = dict[str, Tensor]


class Accuracy:
    """The share of rows whose class is among the ``top`` highest outputs; for one output a row: above the threshold."""

    def __init__(self, *, top: int = 1, threshold: float = 0.0) -> None:
        self._top = top
        self._threshold = threshold
        self._right: Tensor | None = None
        self._count = 0

    def update(self, *values: Tensor) -> None:
        """Take in a batch: [B, classes, …] with class numbers [B, …], or [B, …] with targets of 0 and 1."""
        output, target = values
        if target.is_floating_point():
            _need_equal(output, target)
            right = (output > self._threshold) == (target > 0.5)
        elif output.dim() < 2 or (output.shape[0], *output.shape[2:]) != tuple(target.shape):
            raise ValueError("it needs outputs [B, classes, …] and class numbers [B, …]")
        elif self._top == 1:
            right = output.argmax(1) == target
        else:
            right = (output.topk(self._top, dim=1).indices == target.unsqueeze(1)).any(1)
        total = right.sum()
        self._right = total if self._right is None else self._right + total
        self._count += target.numel()

    def compute(self) -> Tensor:
        """Return the share."""
        return torch.tensor(float("nan")) if self._right is None else self._right.double() / self._count


class Errors:
    """A mean of errors over all entries, or r2, the share of the variance explained (the mean over outputs)."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._count = 0
        self._sums: _Sums = {}

    def update(self, *values: Tensor) -> None:
        """Take in a batch; output and target have the same shape."""
        output, target = values
        _need_equal(output, target)
        rows = len(target)
        error, wanted = (output - target).double().reshape(rows, -1), target.double().reshape(rows, -1)
        self._count += rows
        self._add("absolute", error.abs().sum(0))
        self._add("squared", error.square().sum(0))
        self._add("target", wanted.sum(0))
        self._add("target_squared", wanted.square().sum(0))

    def compute(self) -> Tensor:
        """Return the metric."""
        if not self._count:
            return torch.tensor(float("nan"))
        return _FORMULAS[self._kind](self._sums, self._count)

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value


def quick_metric(name: str, loss_type: str) -> Accuracy | Errors:
    """Return a fresh accumulator; the loss tells logits from probabilities."""
    if name == "accuracy":
        return Accuracy(threshold=0.5 if loss_type == "BCELoss" else 0.0)
    if name == "top_5_accuracy":
        return Accuracy(top=5)
    return Errors(name)


def _need_equal(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise ValueError("it needs an output and a target of the same shape")


def _r2(sums: _Sums, count: int) -> Tensor:
    spread = sums["target_squared"] - sums["target"].square() / count
    return (1 - sums["squared"] / spread).mean()


_FORMULAS: dict[str, Callable[[_Sums, int], Tensor]] = {
    "mean_absolute_error": lambda sums, count: (sums["absolute"] / count).mean(),
    "mean_squared_error": lambda sums, count: (sums["squared"] / count).mean(),
    "root_mean_squared_error": lambda sums, count: (sums["squared"] / count).mean().sqrt(),
    "r2": _r2,
}
