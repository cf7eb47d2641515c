"""Numbers as JSON says them: small tensors whole, large ones as a summary, NaN and infinities by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

MAX_VALUES = 64
"""Tensors with more elements are summarised."""


def dtype_name(tensor: torch.Tensor) -> str:
    """Return for example "float32"."""
    return str(tensor.dtype).removeprefix("torch.")


def number(value: float) -> float | int | str:
    """Return a number, or "NaN", "Infinity", "-Infinity"."""
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def value_of(tensor: torch.Tensor, limit: int = MAX_VALUES) -> Any:  # noqa: ANN401 - nested lists of numbers
    """Return the elements as nested lists, or None where there are more than ``limit``.

    A float32 is written with the fewest digits that give it back.
    """
    if tensor.numel() > limit or tensor.is_complex():
        return None
    tensor = tensor.detach()
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    array = tensor.cpu().resolve_conj().numpy()
    return _nested(array)


def summary_of(tensor: torch.Tensor) -> dict[str, Any]:
    """Return minimum, maximum, mean and standard deviation of the finite elements, and how many are not finite."""
    tensor = tensor.detach()
    if tensor.numel() <= MAX_VALUES and not tensor.is_complex():
        return _small_summary([float(one) for one in tensor.flatten().tolist()])
    counts = {"nan": int(tensor.isnan().sum()), "inf": int(tensor.isinf().sum()), "count": tensor.numel()}
    finite = tensor.double()[tensor.isfinite()] if not tensor.is_complex() else tensor.new_empty(0).real
    if not finite.numel():
        return {"min": None, "max": None, "mean": None, "std": None, **counts}
    low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean())
    spread = float(finite.std(correction=0))
    return {"min": number(low), "max": number(high), "mean": number(mean), "std": number(spread), **counts}


def _small_summary(values: list[float]) -> dict[str, Any]:
    """Say the same of few numbers: a call of torch for each figure would cost more than the figures."""
    finite = [value for value in values if math.isfinite(value)]
    nan = sum(math.isnan(value) for value in values)
    counts = {"nan": nan, "inf": len(values) - len(finite) - nan, "count": len(values)}
    if not finite:
        return {"min": None, "max": None, "mean": None, "std": None, **counts}
    # Neither fsum nor **: near the largest float they raise where a sum is infinite.
    mean = sum(finite) / len(finite)
    spread = math.sqrt(sum((value - mean) * (value - mean) for value in finite) / len(finite))
    return {"min": min(finite), "max": max(finite), "mean": number(mean), "std": number(spread), **counts}


def described(tensor: torch.Tensor, limit: int = MAX_VALUES) -> dict[str, Any]:
    """Return ``{"value", "summary", "norm"}``: the value of a small tensor, the summary of a large one, the L2 norm."""
    value = value_of(tensor, limit)
    norm = number(float(torch.linalg.vector_norm(tensor.detach().double())))
    return {"value": value, "summary": None if value is not None else summary_of(tensor), "norm": norm}


def _nested(array: np.ndarray[Any, Any]) -> Any:  # noqa: ANN401
    if array.ndim:
        return [_nested(item) for item in array]
    item = array.item()
    if isinstance(item, float) and array.dtype == np.float32:
        item = float(str(np.float32(item)))
    return item if isinstance(item, bool) else number(item)
