"""What is said about a checkpoint, and which weights are not worth one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from worker.trainer.checkpoint import META, STATE, WEIGHTS
from worker.trainer.control import Line
from worker.trainer.failures import StepFailure


def announcement(
    line: Line, step: int, epoch: int, metrics: Mapping[str, float], *, final: bool, best: bool
) -> Callable[[Path], None]:
    """Return what tells the owner that a folder holds a complete checkpoint."""
    event = {
        "event": "checkpoint",
        "step": step,
        "epoch": epoch,
        "files": {"weights": WEIGHTS, "state": STATE, "meta": META},
        "metrics": dict(metrics),
        "final": final,
        "best": best,
    }
    return lambda directory: line.emit({**event, "directory": str(directory)})


def is_finite(model: nn.Module) -> bool:
    """Tell whether all parameters are finite numbers."""
    checks = [torch.isfinite(parameter.detach()).all() for parameter in model.parameters()]
    return not checks or bool(torch.stack(checks).all())


def poisoned(step: int) -> StepFailure:
    """Return the failure of a run that ends in weights that are not."""
    return StepFailure(
        f"The weights are NaN or infinite after step {step}.",
        step=step,
        code="non_finite_weights",
        hint="Try a smaller learning rate, or gradient_clip; the last checkpoint holds finite weights.",
        pointer="/training/optimizer/lr",
    )
