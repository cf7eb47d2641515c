"""Runs once in a fork server, before any job: what torch and the language set up at first use is then shared by all."""

from __future__ import annotations

import torch
from torch import nn

from services.definition import check
from services.modules import build

_MODEL = "Sequential(Conv2d(1, 1, 1), BatchNorm2d(1), ReLU(), Flatten(), Dropout(0.1), Linear(4, 2))"


def warm() -> None:
    """Make one training step of a tiny model, on one thread."""
    torch.set_num_threads(1)
    model = build(check(_MODEL))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    rows = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    output = model(torch.rand(4, 1, 2, 2)[rows])
    torch.autograd.backward(nn.CrossEntropyLoss()(output, torch.zeros(4, dtype=torch.int64)))
    optimizer.step()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model.eval()
        torch.isfinite(model(torch.rand(4, 1, 2, 2))).all().item()
