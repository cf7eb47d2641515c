"""Whether what the preflight saw of a model fits its data: the last check before the queue, after loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from services.errors import InvalidRequest, Problem

Shape = Sequence[int | str]


def check_fit(resolved: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """Compare a preflight report with the resolved sections of a request.

    Sizes that the preflight could not tell are free: the trainer checks them again with the first real batch.

    Raises:
        InvalidRequest: ``no_trainable_parameters`` or ``batchnorm_single_sample``, each with the fix.
    """
    problems = [
        *_check_parameters(report["parameters"]),
        *_check_batch_norm(resolved, report["layers"]),
    ]
    if problems:
        raise InvalidRequest(problems)


def _check_parameters(counts: Mapping[str, int]) -> list[Problem]:
    if counts["trainable"]:
        return []
    detail = "The model has no parameter to train."
    return [Problem("no_trainable_parameters", detail, "/model", "Add a layer with weights.")]


def _check_batch_norm(resolved: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> list[Problem]:
    data = resolved["data"]
    rows, size = data["rows"]["train"], data["batch_size"]
    if size == "auto":  # one is found that leaves no single row
        return []
    left_over = 0 if data["drop_last"] else rows % size
    if min(rows, size) != 1 and left_over != 1:
        return []
    for layer in layers:
        if layer["type"].startswith("BatchNorm") and _values_per_channel(layer["input_shapes"]) == 1:
            detail = (
                f"With {rows} training rows in batches of {size}, one batch has a single row, "
                f"and {layer['type']} `{layer['path']}` cannot train on one value."
            )
            hint = 'Set "drop_last": true, or another batch_size.'
            return [Problem("batchnorm_single_sample", detail, "/data/batch_size", hint)]
    return []


def _values_per_channel(shapes: Sequence[Shape]) -> int:
    """Return how many values of one row share a channel; sizes that are not known count as 2."""
    return prod(size if isinstance(size, int) else 2 for size in shapes[0][2:]) if shapes else 2
