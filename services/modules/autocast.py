"""In which numbers a forward is computed where that is not float32 throughout: mixed with bfloat16 or float16."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

_MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}

Autocast = Callable[[], AbstractContextManager[object]]
"""Makes the context in which a forward and its loss are computed."""


def autocast(name: str, device: torch.device) -> Autocast:
    """Return what makes the context of a forward, for a plan's ``precision``."""
    dtype = _MIXED.get(name)
    return nullcontext if dtype is None else lambda: torch.autocast(device.type, dtype=dtype)
