"""Tensors for a recorded run: given numbers, seeded draws, or small samples of the declared shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from services.datasets.catalog import get_builtin
from services.definition import Input
from services.modules.samples import free_size

BATCH = 2
"""Rows of a sample: one would be refused by batch normalisation."""


def given_inputs(inputs: Mapping[str, Mapping[str, Any] | None], dtype: torch.dtype) -> dict[str, torch.Tensor | None]:
    """Return the tensors that a request describes, in its order.

    Each is ``{"value", "shape", "dtype"}`` (numbers in row-major order) or ``{"random", "shape", "seed", …}``;
    None stays None. Without a dtype a value gets ``dtype``. What they hold was checked by `services.graphs.inputs`.
    """
    return {name: None if one is None else _tensor(one, dtype) for name, one in inputs.items()}


def sample_of(inputs: Sequence[Input], seed: int) -> dict[str, torch.Tensor | None]:
    """Return small tensors of the declared shapes: normal draws for floating point, zeros and ones for integers."""
    generator = torch.Generator().manual_seed(seed)
    return {one.name: None if one.shape is None else _sample(one, generator) for one in inputs}


def builtin_rows(name: str, rows: Sequence[int], columns: Mapping[str, str]) -> dict[str, torch.Tensor | None]:
    """Return rows of a built-in data set; ``columns`` maps inputs to columns."""
    # Half a second and 100 MB that most children do not need.
    from services.datasets.builtin import load_columns  # noqa: PLC0415

    table = load_columns(get_builtin(name))
    return {one: torch.from_numpy(table[column][list(rows)]) for one, column in columns.items()}


def _tensor(one: Mapping[str, Any], dtype: torch.dtype) -> torch.Tensor:
    kind: torch.dtype = getattr(torch, one["dtype"]) if one.get("dtype") else dtype
    if "random" in one:
        return _random(one, kind)
    # As Python floats: an integer beyond 64 bits is a number like any other here.
    values = [float(item) for item in one["value"]] if kind.is_floating_point else one["value"]
    return torch.tensor(values, dtype=kind).view(one["shape"])


def _random(one: Mapping[str, Any], kind: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(one.get("seed", 0))
    shape = one["shape"]
    if one["random"] == "randint":
        return torch.randint(one.get("low", 0), one["high"], shape, generator=generator).to(kind)
    draw = torch.randn if one["random"] == "randn" else torch.rand
    return draw(shape, generator=generator).to(kind)


def _sample(one: Input, generator: torch.Generator) -> torch.Tensor:
    shape = [size if isinstance(size, int) else free_size(size, BATCH) for size in one.shape or ()]
    kind: torch.dtype = getattr(torch, one.dtype)
    if kind.is_floating_point:
        return torch.randn(shape, generator=generator).to(kind)
    return torch.randint(0, 2, shape, generator=generator).to(kind)
