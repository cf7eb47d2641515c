"""In which numbers a model is computed: float32, TF32 inside matrix products, or mixed with bfloat16 or float16."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from services.errors import user_failure

_MIXED = {"bf16": torch.bfloat16, "fp16": torch.float16}
_CUDA_ONLY = ("fp16", "tf32")

Autocast = Callable[[], AbstractContextManager[object]]
"""Makes the context in which a forward and its loss are computed."""


def check_precision(name: str, device: torch.device) -> None:
    """Refuse what the device cannot do.

    Raises:
        TrainingFailure: ``precision_unavailable``.
    """
    if name in _CUDA_ONLY and device.type != "cuda":
        raise user_failure(
            "precision_unavailable",
            f"{name} needs a CUDA device, and this job came to one of kind {device.type}.",
            hint='Use "bf16" or "float32", or ask for {"resources": {"device": "cuda"}}.',
            pointer="/training/precision",
        )


def autocast(name: str, device: torch.device) -> Autocast:
    """Return what makes the context of a forward."""
    dtype = _MIXED.get(name)
    return nullcontext if dtype is None else lambda: torch.autocast(device.type, dtype=dtype)


def allow_tf32(allowed: bool) -> None:
    """Let matrix products round their factors to TF32, or not: torch's default."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
