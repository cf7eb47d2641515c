"""Whether the loss of a batch is made of the losses of its shares: only then do several processes train as one does."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn

from services.errors import user_failure
from services.modules.data.parts import Batch, Part
from worker.trainer.data import Share
from worker.trainer.objective import Objective

_TOLERANCE = 1e-3  # sums in another order differ by far less, a wrong share by far more


def check_separable(model: nn.Module, objective: Objective, part: Part, *, batch_size: int, count: int) -> None:
    """Compare the loss of one batch with that of its ``count`` shares, in eval mode; nothing is changed.

    What draws random numbers also there cannot be compared, and passes.

    Raises:
        TrainingFailure: ``batch_not_separable``.
    """
    trial = copy.deepcopy(model).eval()
    batch = next(part.batches(batch_size))
    device = batch.columns[next(iter(batch.columns))].device

    def loss(one: Batch) -> float:
        return float(objective.compute(trial(*one.inputs), one)[0])

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
        whole, again = loss(batch), loss(batch)
        shares = [_rows_of(batch, Share(rank, count).of(batch.rows)) for rank in range(count)]
        weights = [share.rows / batch.rows if objective.averages else 1.0 for share in shares]
        together = sum(weight * loss(share) for weight, share in zip(weights, shares, strict=True))
    if whole == again and abs(whole - together) > _TOLERANCE * max(1.0, abs(whole)) and math.isfinite(whole):
        raise user_failure(
            "batch_not_separable",
            f"{count} processes would train something else than one: the loss of a batch is {whole:.6g}, and that of "
            f"its shares {together:.6g} together.",
            hint="Let the loss be a mean over rows, and no row depend on the others; or train in one process.",
            pointer="/resources",
        )


def _rows_of(batch: Batch, rows: range) -> Batch:
    chosen = slice(rows.start, rows.stop)
    inputs = tuple(None if one is None else one[chosen] for one in batch.inputs)
    columns = {name: column[chosen] for name, column in batch.columns.items()}
    return Batch(inputs, columns, len(rows), batch.rows)
