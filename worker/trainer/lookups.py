"""Whether columns of numbers that an embedding looks up stay within its entries: found out before the first step.

On a CPU torch would say so at some later batch, without a row; on a GPU the process would be lost.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import cast

import torch
from torch import Tensor, nn

from services.errors import user_failure
from services.modules.data.parts import Batch, Part

_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)


def check_lookups(model: nn.Module, parts: Mapping[str, Part]) -> None:
    """Call a copy of the model with one row, and look at every row of the columns that reach an embedding as they are.

    Raises:
        TrainingFailure: ``index_out_of_range``, with layer, column and row.
    """
    if not any(isinstance(module, _LOOKUPS) for module in model.modules()):
        return
    batch = next(parts["train"].batches(1))
    if not any(values is not None and not values.is_floating_point() for values in batch.inputs):
        return
    trial = copy.deepcopy(model).eval()
    for name, module in trial.named_modules():
        if isinstance(module, _LOOKUPS):
            module.register_forward_pre_hook(_looked_up(name, batch, parts))
    device = next(model.parameters()).device
    gone_by = (RuntimeError, ValueError, TypeError, LookupError, AssertionError, AttributeError)
    rng = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with rng, torch.no_grad(), suppress(*gone_by):  # what else may fail is explained at the first step
        trial(*batch.inputs)


def _looked_up(name: str, batch: Batch, parts: Mapping[str, Part]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def look(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        entries = cast(nn.Embedding, module).num_embeddings
        for column, values in batch.columns.items():
            if values.data_ptr() == arguments[0].data_ptr() and values.numel() == arguments[0].numel():
                _check_column(column, entries, f"layer `{name}` ({type(module).__name__})", parts)
        if bool(((arguments[0] < 0) | (arguments[0] >= entries)).any()):
            detail = f"Layer `{name}` ({type(module).__name__}) is asked for an entry beyond its {entries}."
            raise user_failure("index_out_of_range", detail, hint="Give it more entries.", pointer="/model")

    return look


def _check_column(column: str, entries: int, layer: str, parts: Mapping[str, Part]) -> None:
    for part in parts.values():
        values = part.columns[column]
        wrong = (values < 0) | (values >= entries)
        if bool(wrong.any()):
            place = wrong.nonzero()[0]
            row, value = int(part.rows[place[0]]), int(values[tuple(place)])
            raise user_failure(
                "index_out_of_range",
                f"Column `{column}` is {value} in row {row}, but {layer} has {entries} entries, 0 to {entries - 1}.",
                hint=f"Give the layer at least {value + 1} entries." if value >= 0 else "Mend the column.",
                pointer="/model",
            )
