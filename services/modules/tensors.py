"""The tensors of a module by name: what patterns choose from, and what a checkpoint's weights are matched with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

MAX_VALUES = 1_000


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Iterate over the tensors in a value, nested ones included, in order.

    A list may hold itself, or one list twice and so on: what lies behind the first `MAX_VALUES` is not looked at.
    """
    waiting = [value]
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            yield one
        elif isinstance(one, dict | list | tuple) and len(one) <= MAX_VALUES:
            waiting += reversed([*one.values()] if isinstance(one, dict) else one)


def tensor_rows(model: nn.Module) -> list[dict[str, Any]]:
    """Return one row for each entry of ``state_dict``: name, shape, and for parameters what an optimizer needs to know.

    A tensor that two modules share has a row for each of its names; ``same_as`` then names the first.
    """
    first_names: dict[int, str] = {}
    sparse = {id(module.weight) for module in model.modules() if getattr(module, "sparse", False) is True}
    rows = []
    for name, tensor in model.state_dict(keep_vars=True).items():
        first = first_names.setdefault(id(tensor), name)
        rows.append(
            {
                "name": name,
                "shape": list(tensor.shape),
                "parameter": isinstance(tensor, nn.Parameter),
                "trainable": tensor.requires_grad,
                "sparse": id(tensor) in sparse,
                "same_as": None if first == name else first,
            }
        )
    return rows
