"""Reads the weights of a checkpoint for a recorded run."""

from __future__ import annotations

import torch
from safetensors.torch import load_file


def read_weights(path: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file; the service wrote it, verified, into a scratch folder."""
    return load_file(path)
