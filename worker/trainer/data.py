"""The training rows of a job as batches, in an order found by arithmetic."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from services.modules.data.finishing import Finish
from services.modules.data.parts import Batch, Part, cut_rows
from services.modules.data.transforms import Run

_WINDOW_BYTES = 64 << 20  # so many bytes of rows are put in order at a time
_TRANSFORMED_BYTES = 4 << 20
"""So many where images are transformed, which takes a while; to change it is to change what such runs draw."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one of ``count`` processes takes of every batch: a run of its rows, as long as the others' or one longer."""

    rank: int = 0
    count: int = 1

    def of(self, rows: int) -> range:
        """Return which rows of a batch."""
        return range(rows * self.rank // self.count, rows * (self.rank + 1) // self.count)


WHOLE = Share()


class Batches:
    """The training rows as batches, in an order that depends on seed and epoch alone."""

    def __init__(
        self, part: Part, *, batch_size: int, shuffle: bool, drop_last: bool, seed: int, share: Share = WHOLE
    ) -> None:
        self._part = part
        self._share = share
        self._columns = part.columns
        self._inputs = part.inputs
        self._device = next(iter(part.columns.values())).device
        self._rows = len(part)
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._varied = {name: one for name, one in part.finish.items() if one.varies}
        self._used = self._rows - self._rows % batch_size if drop_last else self._rows
        self.steps_per_epoch = -(-self._used // batch_size)
        row_bytes = sum(_row_bytes(column, part.finish.get(name)) for name, column in self._columns.items())
        slow = any(one.transforms is not None for one in part.finish.values())
        window_bytes = _TRANSFORMED_BYTES if slow else _WINDOW_BYTES
        self._window = batch_size * max(1, window_bytes // max(1, row_bytes * batch_size))

    def rest_of_epoch(self, step: int) -> Iterator[Batch]:
        """Yield the batches from ``step`` (0 is the first of the run) to the end of its epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        chances = self._chances(epoch)
        first = position * self._batch_size
        for start in range(first - first % self._window, self._used, self._window):
            skipped = max(0, first - start) // self._batch_size
            yield from itertools.islice(self._cut(epoch, order, start, chances), skipped, None)

    def sizes(self) -> set[int]:
        """Return the sizes that occur."""
        return {min(self._batch_size, self._used - start) for start in range(0, self._used, self._batch_size)}

    def _order(self, epoch: int) -> Tensor | None:
        if not self._shuffle:
            return None
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, epoch))
        return torch.randperm(self._rows, generator=generator).to(self._device)

    def _chances(self, epoch: int) -> dict[str, Tensor]:
        """Return the random numbers of one epoch, for each training row by its place in the part."""
        return {
            name: one.chances(self._rows, seed=self._seed, epoch=epoch).to(self._device)
            for name, one in self._varied.items()
        }

    def _cut(self, epoch: int, order: Tensor | None, start: int, chances: Mapping[str, Tensor]) -> Iterator[Batch]:
        """Gather one window in one go, and yield its batches as views."""
        stop = min(start + self._window, self._used)
        rows, sizes, wholes = self._rows_of(start, stop)
        ours = slice(None) if isinstance(rows, slice) else rows.cpu() - start
        run = Run(self._seed, epoch, start, stop - start, ours)
        chosen = rows if order is None else order[rows]
        window = {name: column[chosen] for name, column in self._columns.items()}
        for name, finish in self._part.finish.items():
            values = finish.vary(window[name], chances[name][chosen]) if name in chances else window[name]
            window[name] = finish(values, run)
        for batch, whole in zip(cut_rows(window, self._inputs, sizes, {}), wholes, strict=True):
            batch.whole = whole
            yield batch

    def _rows_of(self, start: int, stop: int) -> tuple[slice | Tensor, list[int], list[int]]:
        """Return the rows that are ours in a window, and of each of its batches how many they are and of how many."""
        starts = range(start, stop, self._batch_size)
        wholes = [min(self._batch_size, stop - first) for first in starts]
        if self._share == WHOLE:
            return slice(start, stop), wholes, wholes
        ours = [self._share.of(whole) for whole in wholes]
        rows = torch.cat([torch.arange(one.start, one.stop) + first for one, first in zip(ours, starts, strict=True)])
        return rows.to(self._device), [len(one) for one in ours], wholes


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch's order; neighbouring seeds and epochs share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}".encode()).digest()[:8], "big") >> 1


def _row_bytes(column: Tensor, finish: Finish | None) -> int:
    return column[0].numel() * (finish.dtype.itemsize if finish else column.element_size())
