"""Metrics over a part of the data: each an expression or a call of an accumulator, on outputs and columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from services.definition.problems import Place
from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest, Problem
from services.modules.formulas import Columns, Compiled, Outputs
from services.modules.objective import CLIENT_ERRORS, code_of
from services.modules.quick_metrics import quick_metric
from services.modules.torchmetric import TorchMetric
from services.modules.words import describe, first_line, shown_shapes
from services.training.sources import METRICS, QUICK, metric_formulas


class Accumulator(Protocol):
    """Takes in batches and gives one number."""

    def update(self, *values: Any) -> None:  # noqa: ANN401 - what the expressions of a request give
        """Take in a batch."""

    def compute(self) -> Tensor:
        """Return the number."""


class Measure:
    """One metric of a plan: ``start``, ``update`` with each batch, ``compute``. ``name`` is that of its series."""

    def __init__(
        self,
        metric: Mapping[str, Any],
        index: int,
        vocabulary: Vocabulary,
        *,
        loss_type: str,
        device: torch.device | str,
    ) -> None:
        self.name: str = metric["name"]
        self._metric = metric
        self._place = METRICS.child(index)
        self._index = index
        self._loss_type = loss_type
        self._device = device
        self._compiled = Compiled(metric_formulas(metric, index, vocabulary), vocabulary)
        self._mean: _Mean | None = None
        self._accumulator: Accumulator | None = None
        self.start()

    def start(self) -> None:
        """Forget all batches.

        Raises:
            InvalidRequest: the class refuses its arguments.
        """
        kind = self._metric.get("type")
        if kind is None:
            self._mean = _Mean()
        elif kind in QUICK:
            self._accumulator = quick_metric(kind, self._loss_type)
        else:
            self._accumulator = TorchMetric(self._metric, self._index, self._device)
        self._is_bound = False

    def update(self, outputs: Outputs, columns: Columns, rows: int) -> None:
        """Take in a batch of so many rows.

        Raises:
            InvalidRequest: ``metric_failed``, ``metric_not_scalar``, or what is wrong with the expression.
        """
        if not self._is_bound:
            self._compiled.bind(outputs)
            self._is_bound = True
        values = self._values(outputs, columns)
        if self._mean is not None:
            self._mean.update(_one_number(values[0], self._place), rows)
        elif self._accumulator is not None:
            self._update(self._accumulator, values)

    def compute(self) -> Tensor:
        """Return the number; NaN when no batch came."""
        if self._mean is not None:
            return self._mean.compute()
        if self._accumulator is None or not self._is_bound:
            return torch.tensor(float("nan"))
        return self._accumulator.compute()

    def _values(self, outputs: Outputs, columns: Columns) -> tuple[Any, ...]:
        try:
            return self._compiled(outputs, columns)
        except CLIENT_ERRORS as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            place = self._compiled.place_of(error) or self._place
            shapes = shown_shapes(self._compiled.named_values(outputs, columns))
            detail = f"This expression fails: {first_line(error)} ({shapes})"
            raise InvalidRequest([Problem(code_of(error), detail, place.pointer, None, place.column)]) from None

    def _update(self, accumulator: Accumulator, values: tuple[Any, ...]) -> None:
        try:
            accumulator.update(*values)
        except InvalidRequest:
            raise
        except CLIENT_ERRORS as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            shapes = " and ".join(map(describe, values))
            detail = f"{self._metric['type']} fails on {shapes}: {first_line(error)}"
            raise InvalidRequest([Problem("metric_failed", detail, self._place.pointer, _SAY_INPUTS)]) from error


def build_measures(plan: Mapping[str, Any], vocabulary: Vocabulary, device: torch.device | str) -> list[Measure]:
    """Return the metrics of a resolved plan.

    Raises:
        InvalidRequest: a class refuses its arguments.
    """
    return [
        Measure(metric, index, vocabulary, loss_type=plan["loss"]["type"], device=device)
        for index, metric in enumerate(plan["metrics"])
    ]


_SAY_INPUTS = 'Say with "inputs" what it is to be called with: names of outputs and columns, or expressions of them.'


class _Mean:
    """The mean of one number a batch, over rows."""

    def __init__(self) -> None:
        self._total: Tensor | None = None
        self._rows = 0

    def update(self, value: Tensor, rows: int) -> None:
        weighted = value.double() * rows
        self._total = weighted if self._total is None else self._total + weighted
        self._rows += rows

    def compute(self) -> Tensor:
        return torch.tensor(float("nan")) if self._total is None else self._total / self._rows


def _one_number(value: Any, place: Place) -> Tensor:  # noqa: ANN401 - expressions give anything
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(())
    detail = f"The metric is {describe(value)}; it must be one number."
    pointer = place.child("expression").pointer
    raise InvalidRequest([Problem("metric_not_scalar", detail, pointer, "End it with .mean() or .sum().")])
