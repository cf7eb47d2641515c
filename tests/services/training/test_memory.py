"""The memory of a training step counts what torch's own optimizers keep."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from services.training.memory import optimizer_tensors, training_memory
from services.training.optimizers import Optimizer
from worker.trainer.optim import build_optimizer

KINDS = get_args(get_args(Optimizer)[0])
VARIANTS = [{}, {"momentum": 0.9}, {"amsgrad": True}, {"centered": True}, {"momentum": 0.9, "centered": True}]
CASES = [(kind, given) for kind in KINDS for given in VARIANTS if given.keys() <= kind.model_fields.keys()]


@pytest.mark.parametrize(("kind", "given"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_optimizer_keeps_as_many_tensors_as_are_counted(kind, given):
    section = kind(type=kind.__name__, **given).model_dump()
    parameters = [torch.nn.Parameter(torch.randn(40, 30)), torch.nn.Parameter(torch.randn(20, 60))]
    optimizer = build_optimizer(section, parameters)
    for _ in range(2):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    states = [tensor for state in optimizer.state.values() for tensor in state.values()]
    kept = sum(tensor.numel() for tensor in states if isinstance(tensor, torch.Tensor) and tensor.dim())
    size = sum(parameter.numel() for parameter in parameters)
    assert round(kept / size) == optimizer_tensors(section)


def test_activations_grow_with_the_batch_and_the_parts_add_up():
    found = training_memory(
        {"weights": 40, "gradients": 30, "activations_per_sample": 7},
        optimizer={"type": "SGD", "momentum": 0.9},
        batch_size=16,
    )
    assert (found["optimizer"], found["activations"], found["total"]) == (30, 112, 40 + 30 + 30 + 112)
    assert found["assumes"] == {"optimizer": "SGD", "batch_size": 16}
