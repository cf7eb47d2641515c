"""Small trial inputs for a forward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from services.definition.bindings import DTYPES
from services.errors import InvalidRequest, Problem

_FREE_SIZES = {"T": 8, "S": 8, "L": 8, "H": 64, "W": 64, "N": 8}
_DEFAULT_SIZE = 8


def sample_inputs(inputs: Mapping[str, Mapping[str, Any]], *, batch: int, device: str) -> list[torch.Tensor | None]:
    """Return one tensor for each input, in order; ``None`` stands for an optional one without a shape."""
    return [_sample(name, given, batch, device) for name, given in inputs.items()]


def _sample(name: str, given: Mapping[str, Any], batch: int, device: str) -> torch.Tensor | None:
    if given.get("shape") is None:
        return None
    dtype = str(given.get("dtype", "float32"))
    if dtype not in DTYPES:
        raise InvalidRequest([Problem("invalid_argument", f"Input {name!r} has the unknown dtype {dtype!r}.")])
    shape = [size if isinstance(size, int) else free_size(size, batch) for size in given["shape"]]
    kind: torch.dtype = getattr(torch, dtype)
    if kind.is_floating_point and device != "meta":
        return torch.rand(shape, dtype=torch.float32, device=device).to(kind)
    return torch.zeros(shape, dtype=kind, device=device)


def free_size(name: object, batch: int) -> int:
    """Return the trial size of a free dimension."""
    return batch if name == "B" else _FREE_SIZES.get(str(name), _DEFAULT_SIZE)
