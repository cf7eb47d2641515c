"""From batches to optimizer steps: the windows of batches whose gradients make one step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from services.modules.data.parts import Batch
from worker.trainer.data import Batches

Window = tuple[Batch, ...]


class Windows:
    """The batches of an epoch, ``accumulate`` of them to a step; the last step of an epoch takes what is left."""

    def __init__(self, batches: Batches, accumulate: int) -> None:
        self.batches = batches
        self._size = accumulate
        self.steps_per_epoch = -(-batches.steps_per_epoch // accumulate)

    def rest_of_epoch(self, step: int) -> Iterator[Window]:
        """Yield the windows from ``step`` (0 is the first of the run) to the end of its epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        batches = self.batches.rest_of_epoch(epoch * self.batches.steps_per_epoch + position * self._size)
        while window := tuple(itertools.islice(batches, self._size)):
            yield window


def shares(window: Window) -> list[float]:
    """Return the part of the window's rows, all processes' together, that each of its batches holds here."""
    rows = sum(batch.whole for batch in window)
    return [batch.rows / rows for batch in window]
