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


@dataclass(slots=True)
class Batch:
    """Some rows: what the model is called with, and every column of the run by its name (the target among them)."""

    inputs: tuple[Tensor | None, ...]
    columns: Mapping[str, Tensor]
    rows: int


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one part of the split: all columns of the run, which of them the model is called with, row numbers.

    ``inputs`` names columns in calling order; None stands for an optional input that no column feeds.
    """

    columns: Mapping[str, Tensor]
    inputs: tuple[str | None, ...]
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the rows in their own order."""
        yield from _cut_rows(self.columns, self.inputs, batch_size)


def load_parts(data: Mapping[str, Any], device: torch.device) -> dict[str, Part]:
    """Read the columns a job uses and cut them into ``train``, ``validation`` and ``test``, on ``device``.

    Raises:
        TrainingFailure: ``non_finite_data`` or ``label_out_of_range``, with column and row; ``empty_dataset``.
    """
    columns = _load_columns(Path(data["file"]), list(data["columns"]))
    for name, values in columns.items():
        _check_finite(name, values)
        _check_labels(name, values, data["columns"][name].get("classes"))
    total = len(next(iter(columns.values())))
    parts = {}
    for name, numbers in split_rows(total, data["split"]).items():
        rows = torch.from_numpy(numbers)
        cut = {column: values[rows].to(device) for column, values in columns.items()}
        parts[name] = Part(cut, tuple(data["inputs"]), rows)
    if not len(parts["train"]):
        raise user_failure("empty_dataset", "No row is left to train on.", hint="Give train a larger share.")
    return parts


class Batches:
    """The training rows as batches, in an order that depends on seed and epoch alone."""

    def __init__(self, part: Part, *, batch_size: int, shuffle: bool, drop_last: bool, seed: int) -> None:
        self._columns = part.columns
        self._inputs = part.inputs
        self._device = next(iter(part.columns.values())).device
        self._rows = len(part)
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._seed = seed
        self._used = self._rows - self._rows % batch_size if drop_last else self._rows
        self.steps_per_epoch = -(-self._used // batch_size)
        row_bytes = sum(column[0].numel() * column.element_size() for column in self._columns.values())
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
        return torch.randperm(self._rows, generator=generator).to(self._device)

    def _cut(self, order: Tensor | None, start: int) -> Iterator[Batch]:
        """Gather one window in one go, and yield its batches as views."""
        rows = slice(start, min(start + self._window, self._used))
        chosen = rows if order is None else order[rows]
        window = {name: column[chosen] for name, column in self._columns.items()}
        yield from _cut_rows(window, self._inputs, self._batch_size)


def _cut_rows(columns: Mapping[str, Tensor], inputs: tuple[str | None, ...], batch_size: int) -> Iterator[Batch]:
    names = tuple(columns)
    for tensors in zip(*(torch.split(column, batch_size) for column in columns.values()), strict=True):
        batch = dict(zip(names, tensors, strict=True))
        called_with = tuple([None if name is None else batch[name] for name in inputs])
        yield Batch(called_with, batch, len(tensors[0]))


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
