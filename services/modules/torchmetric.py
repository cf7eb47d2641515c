"""Makes accumulators of torchmetrics, which is imported when the first one is made."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from services.errors import InvalidRequest, Problem
from services.modules.words import first_line

_TUPLES = ("betas", "data_range", "dim", "fpr_range")
_SPACES = (
    "aggregation", "audio", "classification", "clustering", "image", "nominal", "regression", "retrieval",
    "segmentation", "shape", "text",
)  # fmt: skip


class TorchMetric:
    """A class of torchmetrics with ``update`` and ``compute``.

    Targets of 0 and 1 as floats, which binary losses need, are given to classification metrics as integers.
    """

    def __init__(self, metric: Mapping[str, Any], index: int, device: torch.device | str) -> None:
        kind = _class(metric["type"])
        try:
            self._metric = kind(**_arguments(metric)).to(device)
        except (ValueError, TypeError, RuntimeError) as error:
            raise _refused(metric, index, error) from None
        self._reads_integers = "torchmetrics.classification" in type(self._metric).__module__
        self._about = (metric, index)

    def update(self, *values: Any) -> None:  # noqa: ANN401 - what the expressions of a request give
        """Take in a batch; what torchmetrics raises comes as it is."""
        given = [_in_single_precision(value) for value in values]
        if self._reads_integers and len(given) > 1 and isinstance(given[1], Tensor) and given[1].is_floating_point():
            given[1] = given[1].long()
        self._metric.update(*given)

    def compute(self) -> Tensor:
        """Return the number.

        Raises:
            InvalidRequest: ``metric_failed``, also when it is not one number.
        """
        try:
            value = self._metric.compute()
        except (ValueError, TypeError, RuntimeError, IndexError) as error:
            metric, index = self._about
            detail = f"{metric['type']} fails: {first_line(error)}"
            raise InvalidRequest([Problem("metric_failed", detail, f"/training/metrics/{index}")]) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            metric, index = self._about
            detail = f"{metric['type']} gives more than one number here."
            hint = "Choose arguments with which it gives one, such as an average."
            raise InvalidRequest([Problem("metric_failed", detail, f"/training/metrics/{index}", hint)])
        return value.reshape(())


def _arguments(metric: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments; JSON has no tuples."""
    given = metric["arguments"].items()
    return {name: tuple(value) if name in _TUPLES and isinstance(value, list) else value for name, value in given}


def _in_single_precision(value: Any) -> Any:  # noqa: ANN401 - what the expressions of a request give
    """Return half-precision tensors as float32: not every metric computes in less."""
    is_half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value


def _class(name: str) -> Any:  # noqa: ANN401 - torchmetrics' classes share no constructor
    with _without_scipy_signal():
        import torchmetrics  # noqa: PLC0415 - it takes a while, and most jobs do without
        import torchmetrics.clustering  # noqa: PLC0415 - torchmetrics itself leaves these three out
        import torchmetrics.segmentation  # noqa: PLC0415
        import torchmetrics.shape  # noqa: PLC0415

    spaces = [getattr(torchmetrics, space) for space in _SPACES]
    return next(getattr(space, name) for space in spaces if hasattr(space, name))


@contextmanager
def _without_scipy_signal() -> Iterator[None]:
    """Let torchmetrics find a stand-in for ``scipy.signal``, whose import takes nine tenths of its own.

    It looks at the module only to give it back an old name (``hamming``), for a speech metric that we do not offer.
    """
    name = "scipy.signal"
    if name in sys.modules or "torchmetrics" in sys.modules:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.hamming = None  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]


def _refused(metric: Mapping[str, Any], index: int, error: Exception) -> InvalidRequest:
    pointer = f"/training/metrics/{index}"
    if "allocate memory" in str(error):
        detail = f"{metric['type']} needs more memory for these arguments than there is."
        return InvalidRequest([Problem("model_too_large", detail, pointer, "Use fewer thresholds or classes.")])
    detail = f"{metric['type']} refuses these arguments: {first_line(error)}"
    return InvalidRequest([Problem("invalid_argument", detail, pointer)])
