"""The data of a job as tensors: columns loaded and checked, rows split, batches in an order found by arithmetic."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from services.datasets.split import split_rows
from worker.trainer.failures import user_failure

_WINDOW_BYTES = 64 << 20  # so many bytes of rows are put in order at a time
Batch = tuple[tuple[Tensor, ...], Tensor]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part of the split: input columns in calling order, the target, and the rows' numbers."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the rows in their own order."""
        columns = [torch.split(column, batch_size) for column in (*self.inputs, self.target)]
        for *inputs, target in zip(*columns, strict=True):
            yield tuple(inputs), target


def load_parts(data: Mapping[str, Any], device: torch.device) -> dict[str, Part]:
    """Read the columns a job uses and cut them into ``train``, ``validation`` and ``test``, on ``device``.

    Raises:
        TrainingFailure: ``non_finite_data`` or ``label_out_of_range``, with column and row; ``empty_dataset``.
    """
    columns = _load_columns(Path(data["file"]), [*data["inputs"], data["target"]])
    for name, values in columns.items():
        _check_finite(name, values)
    _check_labels(data["target"], columns[data["target"]], data["columns"][data["target"]].get("classes"))
    total = len(columns[data["target"]])
    parts = {}
    for name, numbers in split_rows(total, data["split"]).items():
        rows = torch.from_numpy(numbers)
        inputs = tuple(columns[column][rows].to(device) for column in data["inputs"])
        parts[name] = Part(inputs, columns[data["target"]][rows].to(device), rows)
    if not len(parts["train"]):
        raise user_failure("empty_dataset", "No row is left to train on.", hint="Give train a larger share.")
    return parts


class Batches:
    """The training rows as batches, in an order that depends on seed and epoch alone."""

    def __init__(self, part: Part, *, batch_size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
        self._columns = (*part.inputs, part.target)
        self._rows = len(part)
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._used = self._rows - self._rows % batch_size if drop_last else self._rows
        self.steps_per_epoch = -(-self._used // batch_size)
        row_bytes = sum(column[0].numel() * column.element_size() for column in self._columns)
        self._window = batch_size * max(1, _WINDOW_BYTES // max(1, row_bytes * batch_size))

    def rest_of_epoch(self, step: int) -> Iterator[Batch]:
        """Yield the batches from ``step`` (0 is the first of the run) to the end of its epoch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        first = position * self._batch_size
        for start in range(first - first % self._window, self._used, self._window):
            skipped = max(0, first - start) // self._batch_size
            yield from itertools.islice(self._cut(order, start), skipped, None)

    def sizes(self) -> set[int]:
        """Return the sizes that occur."""
        return {min(self._batch_size, self._used - start) for start in range(0, self._used, self._batch_size)}

    def _order(self, epoch: int) -> Tensor | None:
        if not self._shuffle:
            return None
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, epoch))
        return torch.randperm(self._rows, generator=generator).to(self._columns[0].device)

    def _cut(self, order: Tensor | None, start: int) -> Iterator[Batch]:
        """Gather one window in one go, and yield its batches as views."""
        stop = min(start + self._window, self._used)
        for *inputs, target in zip(*(self._split(column, order, start, stop) for column in self._columns), strict=True):
            yield tuple(inputs), target

    def _split(self, column: Tensor, order: Tensor | None, start: int, stop: int) -> tuple[Tensor, ...]:
        rows = column[start:stop] if order is None else column[order[start:stop]]
        return torch.split(rows, self._batch_size)


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch's order; neighbouring seeds and epochs share nothing."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{epoch}".encode()).digest()[:8], "big") >> 1


def _load_columns(path: Path, names: list[str]) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in dict.fromkeys(names)}


def _check_finite(name: str, values: Tensor) -> None:
    if not values.is_floating_point() or bool(torch.isfinite(values).all()):
        return
    row = (
        int((~torch.isfinite(values)).flatten(1).any(1).nonzero()[0])
        if values.dim() > 1
        else _first(~torch.isfinite(values))
    )
    raise user_failure(
        "non_finite_data", f"Column `{name}` is NaN or infinite in row {row}.", hint="Remove or fill such rows."
    )


def _check_labels(name: str, values: Tensor, classes: int | None) -> None:
    if classes is None or values.is_floating_point():
        return
    wrong = ((values < 0) | (values >= classes)).flatten()
    if bool(wrong.any()):
        row = _first(wrong)
        raise user_failure(
            "label_out_of_range",
            f"Column `{name}` is {int(values.flatten()[row])} in row {row}, but has {classes} classes.",
            hint=f"Labels run from 0 to {classes - 1}.",
        )


def _first(wrong: Tensor) -> int:
    return int(wrong.nonzero()[0, 0])
