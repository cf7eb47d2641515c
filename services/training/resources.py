"""What a job runs on: a device, or several processes that share every batch (data-parallel training)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.errors import Problem
from services.training.losses import CrossEntropyLoss, NLLLoss
from services.training.model import Section, problem
from services.training.schema import OPEN_BATCH_SIZE, DataSection, TrainingPlan

MAX_PROCESSES = 64

_Count = Annotated[int, Field(ge=1, le=MAX_PROCESSES)]


class Resources(Section):
    """What the job needs to run.

    With more than one GPU, or process on a CPU, each takes its share of every batch: `data.batch_size` stays the number
    of rows of the whole batch, and the run computes what one process would.
    """

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; `auto` takes what is free.")
    gpus: _Count | None = Field(
        None,
        description="Train on so many CUDA devices of one worker, a process for each, which share every batch. "
        "A job waits for a worker that has as many. By default one, where a GPU is used.",
        examples=[2],
    )
    processes: _Count | None = Field(
        None,
        description='Where there is no GPU: with `"device": "cpu"` so many processes share every batch.',
        examples=[2],
    )

    @model_validator(mode="after")
    def _counted_in_one_way(self) -> Resources:
        if self.gpus is not None and self.device == "cpu":
            hint = 'Use "processes" on a CPU, or "device": "cuda".'
            raise problem("conflict", "A job on the CPU has no GPUs.", pointer="/gpus", hint=hint)
        if self.processes is not None and self.device != "cpu":
            hint = 'Add "device": "cpu", or count "gpus".'
            raise problem("conflict", "Processes are counted on a CPU alone.", pointer="/processes", hint=hint)
        return self

    @property
    def count(self) -> int:
        """How many processes train."""
        return self.gpus or self.processes or 1

    def resolved(self) -> dict[str, Any]:
        """Return the section with nothing left open: the trainer starts ``processes``."""
        return {
            "device": self.device if self.gpus is None else "cuda",
            "gpus": self.gpus,
            "processes": self.count,
        }


def device_class(resources: dict[str, Any]) -> str:
    """Return what a worker must offer to claim a job with these resolved resources: `cpu`, `cuda:2` …"""
    count = resources["processes"]
    return f"{resources['device']}:{count}" if count > 1 else str(resources["device"])


def check_sharing(plan: TrainingPlan, data: DataSection, count: int) -> list[Problem]:
    """Return what ``count`` processes cannot do together, each with the fix."""
    if count == 1:
        return []
    problems = []
    if plan.execution == "static":
        detail = "Static graphs are captured in one process."
        problems.append(Problem("conflict", detail, "/training/execution", 'Use "dynamic" with several processes.'))
    if plan.optimizer.type == "SparseAdam":
        detail = "Sparse gradients are for one process."
        problems.append(Problem("conflict", detail, "/training/optimizer/type", "Use Adam, and no sparse Embedding."))
    if data.batch_size == OPEN_BATCH_SIZE:
        detail = 'batch_size "auto" is tried out in one process.'
        problems.append(Problem("conflict", detail, "/data/batch_size", "Say how many rows all processes share."))
    if isinstance(plan.loss, CrossEntropyLoss | NLLLoss) and plan.loss.reduction == "mean":
        hint = 'Use "reduction": "sum", or one process.'
        defaults = type(plan.loss).model_fields
        for name in ("weight", "ignore_index"):
            if getattr(plan.loss, name) != defaults[name].default:
                detail = f"With {name} the mean is not over rows: shares of a batch have other divisors than the whole."
                problems.append(Problem("conflict", detail, f"/training/loss/{name}", hint))
    return problems


def check_gradients(tensors: Sequence[Mapping[str, Any]], count: int) -> list[Problem]:
    """Return the problem of parameters whose gradients hold only the rows that a batch touched."""
    sparse = [tensor["name"] for tensor in tensors if tensor["sparse"]]
    if count == 1 or not sparse:
        return []
    detail = f"Sparse gradients are for one process, and those of `{sparse[0]}` are sparse."
    return [Problem("conflict", detail, "/resources", 'Leave "sparse" out of Embedding, or train in one process.')]


def check_shares(data: dict[str, Any], count: int) -> list[Problem]:
    """Return the problem of a batch, the last one of an epoch perhaps, with fewer rows than there are processes."""
    if count == 1:
        return []
    size, left = data["batch_size"], data["rows"]["train"] % data["batch_size"]
    if size < count:
        detail = f"{size} is out of range: {count} processes share every batch."
        return [Problem("out_of_range", detail, "/data/batch_size", f"Use at least {count}.")]
    if 0 < left < count and not data["drop_last"]:
        detail = f"The last batch of an epoch has {left} row(s), which {count} processes cannot share."
        return [Problem("batch_too_small", detail, "/data/batch_size", 'Set "drop_last": true, or another batch_size.')]
    return []
