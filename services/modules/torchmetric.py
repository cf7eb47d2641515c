"""Makes accumulators of torchmetrics, which is imported when the first one is made: that takes a second or two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from services.errors import InvalidRequest, Problem

_SPACES = ("torchmetrics", "classification", "regression", "segmentation", "clustering", "nominal", "image", "text",
           "audio", "retrieval", "aggregation", "shape")  # fmt: skip


class TorchMetric:
    """A class of torchmetrics with ``update`` and ``compute``.

    Targets of 0 and 1 as floats, which binary losses need, are given to classification metrics as integers.
    """

    def __init__(self, metric: Mapping[str, Any], index: int, device: torch.device | str) -> None:
        kind = _class(metric["type"])
        try:
            self._metric = kind(**metric["arguments"]).to(device)
        except (ValueError, TypeError, RuntimeError) as error:
            raise _refused(metric, index, error) from None
        self._reads_integers = "torchmetrics.classification" in type(self._metric).__module__
        self._about = (metric, index)

    def update(self, *values: Any) -> None:  # noqa: ANN401 - what the expressions of a request give
        """Take in a batch.

        Raises:
            InvalidRequest: ``metric_failed``: shape, dtype or values are not what the class takes.
        """
        given = list(values)
        if self._reads_integers and len(given) > 1 and isinstance(given[1], Tensor) and given[1].is_floating_point():
            given[1] = given[1].long()
        try:
            self._metric.update(*given)
        except (ValueError, TypeError, RuntimeError, IndexError, AttributeError) as error:
            raise _failed(*self._about, given, error) from None

    def compute(self) -> Tensor:
        """Return the number.

        Raises:
            InvalidRequest: ``metric_failed``, also when it is not one number.
        """
        try:
            value = self._metric.compute()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            raise _failed(*self._about, [], error) from None
        if not isinstance(value, Tensor) or value.numel() != 1:
            metric, index = self._about
            detail = f"{metric['type']} gives more than one number here."
            hint = "Choose arguments with which it gives one, such as an average."
            raise InvalidRequest([Problem("metric_failed", detail, f"/training/metrics/{index}", hint)])
        return value.reshape(())


def _class(name: str) -> Any:  # noqa: ANN401 - torchmetrics' classes share no constructor
    import importlib  # noqa: PLC0415 - torchmetrics costs seconds, and most jobs do without

    for space in _SPACES:
        module = importlib.import_module("torchmetrics" if space == "torchmetrics" else f"torchmetrics.{space}")
        if hasattr(module, name):
            return getattr(module, name)
    raise KeyError(name)


def _refused(metric: Mapping[str, Any], index: int, error: Exception) -> InvalidRequest:
    text = " ".join(str(error).split())[:300]
    detail = f"{metric['type']} refuses these arguments: {text}"
    return InvalidRequest([Problem("invalid_argument", detail, f"/training/metrics/{index}")])


def _failed(metric: Mapping[str, Any], index: int, values: list[Any], error: Exception) -> InvalidRequest:
    text = " ".join(str(error).split())[:300]
    shown = ", ".join(f"{list(one.shape)} {str(one.dtype)[6:]}" for one in values if isinstance(one, Tensor))
    detail = f"{metric['type']} fails{f' on {shown}' if shown else ''}: {text}"
    hint = 'Say with "inputs" what it is to be called with: names of outputs and columns, or expressions of them.'
    return InvalidRequest([Problem("metric_failed", detail, f"/training/metrics/{index}", hint)])
