"""In which numbers a model is computed: float32, TF32 inside matrix products, or mixed with bfloat16 or float16."""

from __future__ import annotations

import torch

from services.errors import user_failure

_CUDA_ONLY = ("fp16", "tf32")


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


def allow_tf32(allowed: bool) -> None:
    """Let matrix products round their factors to TF32, or not: torch's default."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
