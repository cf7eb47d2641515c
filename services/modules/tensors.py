"""The tensors of a module by name: what patterns choose from, and what a checkpoint's weights are matched with."""

from __future__ import annotations

from typing import Any

from torch import nn


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
