"""The metrics a plan may name, and the losses each makes sense with."""

from __future__ import annotations

from typing import Literal, get_args

MetricName = Literal[
    "accuracy", "top_5_accuracy", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2"
]
METRICS: tuple[str, ...] = get_args(MetricName)

_CLASS_METRICS = ("accuracy", "top_5_accuracy")
_BINARY_METRICS = ("accuracy",)
_REAL_METRICS = ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2")
_BY_LOSS = {
    "CrossEntropyLoss": _CLASS_METRICS,
    "NLLLoss": _CLASS_METRICS,
    "MultiMarginLoss": _CLASS_METRICS,
    "BCEWithLogitsLoss": _BINARY_METRICS,
    "BCELoss": _BINARY_METRICS,
}


def metrics_for(loss_type: str) -> tuple[str, ...]:
    """Return the metrics that make sense with a loss; the first is what a plan without ``metrics`` gets."""
    return _BY_LOSS.get(loss_type, _REAL_METRICS)
