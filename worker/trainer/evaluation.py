"""Loss and metrics over a part of the data that the model does not train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from services.modules.data.parts import Part
from services.modules.measures import Measure
from services.modules.tally import Tally, evaluation_batch
from worker.trainer.objective import Objective


class Evaluator:
    """Runs the model in eval mode. Training does not notice: random generators and mode are as before."""

    def __init__(self, model: nn.Module, objective: Objective, measures: Sequence[Measure], *, batch_size: int) -> None:
        self._model = model
        self._objective = objective
        self._measures = measures
        # A loss that may add up rows is seen in batches as large as in training, so that its numbers compare.
        self._batch_size = evaluation_batch(batch_size, scales=objective.scales)

    def evaluate(self, part: Part, look: Callable[[], None]) -> dict[str, Tensor]:
        """Return ``loss``, its terms and the metrics as tensors; ``look`` is called between batches and may raise.

        The loss and its terms are means over batches, weighted by their rows (or the sum, when the loss sums).
        """
        device = next(iter(part.columns.values())).device
        averages = self._objective.averages
        tally = Tally(self._objective.terms, self._measures, averages=averages, device=device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
            self._model.eval()
            try:
                for batch in part.batches(self._batch_size):
                    look()
                    output = self._model(*batch.inputs)
                    loss, terms = self._objective.compute(output, batch)
                    tally.add([loss, *terms], output, batch.columns, batch.rows)
            finally:
                self._model.train()
        return tally.compute()
