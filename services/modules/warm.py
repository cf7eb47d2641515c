"""Imported once by the preflight fork server: makes torch load what it otherwise loads at the first trial forward."""

from __future__ import annotations

import torch

from services.definition import check
from services.modules.preflight import preflight

# The one import of the code base with an effect: without it every forked child pays seconds for the same modules.
torch.set_num_threads(1)
preflight(
    check("Sequential(Conv2d(1, 1, 1), BatchNorm2d(1), Flatten(), Linear(4, 1))"), {"x": {"shape": ["B", 1, 2, 2]}}
)
