"""Numbers as JSON has them: the shortest text that gives the same float32, and words for NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

_WORDS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def plain(tensor: Tensor) -> Any:  # noqa: ANN401 - a number, or nested lists of them
    """Return a tensor as a number or nested lists; float32 and less without the digits that float64 would add."""
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        return [plain(tensor.real), plain(tensor.imag)]
    if not tensor.is_floating_point():
        return tensor.tolist()
    array = tensor.double().numpy() if tensor.element_size() == 8 else tensor.float().numpy()
    numbers = [_number(float(text)) for text in array.reshape(-1).astype(str)]
    return _nested(numbers, array.shape)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return _WORDS.get(value, "NaN")


def _nested(numbers: list[Any], shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - nested lists
    if not shape:
        return numbers[0]
    for size in reversed(shape[1:]):
        numbers = (
            [numbers[start : start + size] for start in range(0, len(numbers), size)]
            if size
            else [[]] * int(np.prod(shape[:-1]))
        )
    return numbers
