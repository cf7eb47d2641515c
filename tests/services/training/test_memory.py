"""The memory of a training step counts what torch's own optimizers keep."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from services.definition.bindings import DTYPES
from services.training.memory import optimizer_tensors, row_bytes, training_memory
from services.training.optimizers import Optimizer
from worker.trainer.optim import build_optimizer

KINDS = get_args(get_args(Optimizer)[0])
VARIANTS = {
    "LBFGS": [{"history_size": 2}, {"history_size": 3, "line_search_fn": "strong_wolfe"}],
    "Muon": [{}],
    "any": [{}, {"momentum": 0.9}, {"amsgrad": True}, {"centered": True}, {"momentum": 0.9, "centered": True}],
}
CASES = [
    (kind, given)
    for kind in KINDS
    for given in VARIANTS.get(kind.__name__, VARIANTS["any"])
    if given.keys() <= kind.model_fields.keys()
]


def kept(value) -> int:
    """Count the elements of tensors in an optimizer's state, those of plain numbers left out."""
    if isinstance(value, torch.Tensor):
        return value.numel() if value.dim() else 0
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(kept(item) for item in items)


@pytest.mark.parametrize(("kind", "given"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_optimizer_keeps_as_many_tensors_as_are_counted(kind, given):
    torch.manual_seed(0)
    section = kind(type=kind.__name__, **given).model_dump()
    sparse = kind.__name__ == "SparseAdam"
    model = nn.Sequential(nn.Embedding(80, 30, sparse=sparse), nn.Linear(30, 60, bias=False).requires_grad_(not sparse))
    optimizer = build_optimizer(section, model)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.arange(50)).sin().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    size = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert round(kept(dict(optimizer.state)) / size) == optimizer_tensors(section)


def test_activations_grow_with_the_batch_and_the_parts_add_up():
    found = training_memory(
        {"weights": 40, "buffers": 2, "gradients": 30, "activations_per_sample": 7},
        training={"optimizer": {"type": "SGD", "momentum": 0.9}, "ema": {"decay": 0.9}},
        batch_size=16,
        row_bytes=5,
    )
    assert (found["optimizer"], found["activations"], found["averages"], found["batch"]) == (30, 112, 42, 80)
    assert found["total"] == 40 + 2 + 42 + 30 + 30 + 112 + 80
    assert found["assumes"] == {"optimizer": "SGD", "batch_size": 16}


def test_a_row_takes_what_its_columns_take():
    columns = {"image": {"dtype": "float32", "shape": [1, 8, 8]}, "label": {"dtype": "int64", "shape": []}}
    assert row_bytes(columns) == 64 * 4 + 8


def test_every_dtype_of_a_column_has_its_size():
    assert all(row_bytes({"x": {"dtype": name, "shape": []}}) == getattr(torch, name).itemsize for name in DTYPES)
