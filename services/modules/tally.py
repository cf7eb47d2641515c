"""Loss, its terms and metrics over many batches: what training reports of a part, and a prediction of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from services.modules.formulas import Columns, Outputs
from services.modules.measures import Measure

_BATCHES_PER_BATCH = 4  # no gradients are kept, so more rows fit


class Tally:
    """Takes in batches one by one; begins anew with each instance.

    The loss and its ``terms`` are means over batches, weighted by their rows; sums where the loss does not ``average``.
    """

    def __init__(
        self, terms: Sequence[str], measures: Sequence[Measure], *, averages: bool, device: torch.device
    ) -> None:
        self._names = ("loss", *(f"loss/{name}" for name in terms))
        self._measures = measures
        self._averages = averages
        self._totals = torch.zeros(len(self._names), dtype=torch.float64, device=device)
        self._rows = 0
        for measure in measures:
            measure.start()

    def add(self, losses: Sequence[Tensor], outputs: Outputs, columns: Columns, rows: int) -> None:
        """Take in the loss and terms of a batch, and what its metrics look at.

        Raises:
            InvalidRequest: a metric cannot be computed.
        """
        self._totals += torch.stack(list(losses)) * (rows if self._averages else 1)
        self._rows += rows
        for measure in self._measures:
            measure.update(outputs, columns, rows)

    def compute(self) -> dict[str, Tensor]:
        """Return ``loss``, its terms and the metrics by name.

        Raises:
            InvalidRequest: a metric gives no number.
        """
        means = self._totals / self._rows if self._averages else self._totals
        return dict(zip(self._names, means, strict=True)) | {one.name: one.compute() for one in self._measures}


def evaluation_batch(batch_size: int, *, scales: bool) -> int:
    """Return how many rows are evaluated at a time, for a loss that ``scales``: the same for any number of rows."""
    return batch_size * (_BATCHES_PER_BATCH if scales else 1)
