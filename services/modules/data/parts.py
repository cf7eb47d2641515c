"""Rows as a model gets them: a part of a data set, cut into batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from services.modules.data.finishing import Finish


@dataclass(slots=True)
class Batch:
    """Some rows: what the model is called with, and every column of the run by its name (the target among them).

    ``rows`` are here, of ``whole`` that several processes may share.
    """

    inputs: tuple[Tensor | None, ...]
    columns: Mapping[str, Tensor]
    rows: int
    whole: int


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part of the split: all columns of the run, which of them the model is called with, row numbers.

    ``inputs`` names columns in calling order; None stands for an optional input that no column feeds. ``finish`` has
    what is done to columns only when their rows are in a batch.
    """

    columns: Mapping[str, Tensor]
    inputs: tuple[str | None, ...]
    rows: Tensor
    finish: Mapping[str, Finish] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the rows in their own order, none of them varied."""
        yield from cut_rows(self.columns, self.inputs, batch_size, self.finish)


def cut_rows(
    columns: Mapping[str, Tensor],
    inputs: tuple[str | None, ...],
    batch_size: int | list[int],
    finish: Mapping[str, Finish],
) -> Iterator[Batch]:
    """Yield columns of the same rows as batches, the last one perhaps smaller; or of the sizes in a list."""
    names = tuple(columns)
    for tensors in zip(*(torch.split(column, batch_size) for column in columns.values()), strict=True):
        batch = dict(zip(names, tensors, strict=True))
        for name, one in finish.items():
            batch[name] = one(batch[name])
        called_with = tuple([None if name is None else batch[name] for name in inputs])
        yield Batch(called_with, batch, len(tensors[0]), len(tensors[0]))
