"""Says in words what a value is."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def describe(value: Any) -> str:  # noqa: ANN401 - anything
    """Return for example «a tensor [2, 10] of float32», «a dict with logits, aux», «3 values»."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict):
        return f"a dict with {', '.join(map(str, value))}"
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"


def shown_shapes(values: dict[str, Any]) -> str:
    """Return each name with its shape: «recon [2, 64], x [2, 8]»."""
    return ", ".join(
        f"{name} {list(value.shape) if isinstance(value, Tensor) else describe(value)}"
        for name, value in values.items()
    )


def first_line(error: BaseException) -> str:
    """Return what an exception says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
