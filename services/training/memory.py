"""What a training step holds in memory: weights, buffers, averages, gradients, optimizer, activations, a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

_Tensors = Callable[[Mapping[str, Any]], int]

# Tensors of the size of a parameter that torch.optim keeps for each parameter, by its classes' arguments.
_STATE: dict[str, _Tensors] = {
    "SGD": lambda given: int(given.get("momentum", 0) != 0),
    "Adam": lambda given: 2 + bool(given.get("amsgrad")),
    "AdamW": lambda given: 2 + bool(given.get("amsgrad")),
    "NAdam": lambda _: 2,
    "RAdam": lambda _: 2,
    "Adamax": lambda _: 2,
    "Adadelta": lambda _: 2,
    "Adagrad": lambda _: 1,
    "RMSprop": lambda given: 1 + (given.get("momentum", 0) != 0) + bool(given.get("centered")),
    "ASGD": lambda _: 1,
    "Rprop": lambda _: 2,
    # Two histories of ``history_size``, the last gradient and the direction.
    "LBFGS": lambda given: 2 * int(given.get("history_size", 100)) + 2,
    "Adafactor": lambda _: 0,  # rows and columns only
    "SparseAdam": lambda _: 2,
    "Muon": lambda _: 1,
}

_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2}
_BYTES |= dict.fromkeys(("int8", "uint8", "bool"), 1)


def optimizer_tensors(optimizer: Mapping[str, Any]) -> int:
    """Return how many tensors of its size an optimizer keeps for each trained parameter; scalars do not count."""
    return _STATE[optimizer["type"]](optimizer)


def training_memory(
    memory: Mapping[str, Any], *, training: Mapping[str, Any], batch_size: int, row_bytes: int = 0
) -> dict[str, Any]:
    """Return the bytes of one training step: those of the preflight report, for this plan and batch.

    ``row_bytes`` are those of one row of all columns that a batch holds. A bound rather than a forecast: activations
    are those of float32 (bf16 and fp16 keep about half of them), and what the plan freezes is counted as if it trained.
    """
    optimizer = training["optimizer"]
    averages = sum(training.get(kind) is not None for kind in ("ema", "swa"))
    parts = {
        "weights": memory["weights"],
        "buffers": memory["buffers"],
        "averages": (memory["weights"] + memory["buffers"]) * averages,
        "gradients": memory["gradients"],
        "optimizer": memory["gradients"] * optimizer_tensors(optimizer),
        "activations": memory["activations_per_sample"] * batch_size,
        "batch": row_bytes * batch_size,
    }
    return {
        **parts,
        "total": sum(parts.values()),
        "activations_per_sample": memory["activations_per_sample"],
        "assumes": {"optimizer": optimizer["type"], "batch_size": batch_size},
    }


def row_bytes(columns: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes of one row of these columns, as a trainer's batch holds them."""
    return sum(_BYTES[column["dtype"]] * prod(column["shape"]) for column in columns.values())
