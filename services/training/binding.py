"""Which column of a data set reaches which input of a model, and which one the loss compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from services.datasets.catalog import Column, DatasetInfo
from services.errors import Problem
from services.training.problems import nearest
from services.training.schema import DataSection


class Input(Protocol):
    """One declared input of a model: ``shape`` has numbers and free names such as "B"."""

    @property
    def name(self) -> str:
        """What ``forward`` calls it."""

    @property
    def dtype(self) -> str | None:
        """For example "float32"."""

    @property
    def column(self) -> str | None:
        """The data column; None stands for the input's own name."""

    @property
    def shape(self) -> Sequence[int | str] | None:
        """With the batch first."""

    @property
    def optional(self) -> bool:
        """Whether ``forward`` does without it: it gets None."""


def bind_inputs(
    data: DataSection, dataset: DatasetInfo, inputs: Sequence[Input]
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return ``[{"input": name | None, "column": name | None}]`` in calling order, and what is wrong.

    The columns are those that ``data`` lists, else those named as the declared inputs, else the data set's own. An
    optional input that no column feeds has the column None.
    """
    columns = _choose_columns(data, dataset, inputs)
    problems = [
        _unknown_column(name, dataset, f"/data/inputs/{index}" if data.inputs else "/data/inputs")
        for index, name in enumerate(columns)
        if name is not None and name not in dataset.columns
    ]
    if inputs and len(columns) != len(inputs):
        declared = ", ".join(f"`{one.name}`" for one in inputs)
        detail = f"The model has {len(inputs)} input(s) ({declared}), but {len(columns)} column(s) are given."
        return [], [*problems, Problem("input_count_mismatch", detail, "/data/inputs", _offer(dataset))]
    names: list[str | None] = [one.name for one in inputs] or [None] * len(columns)
    for index, (one, column) in enumerate(zip(inputs, columns, strict=False)):
        if column is not None and column in dataset.columns:
            problems += _check_declared(one, column, dataset.columns[column], f"/model/inputs/{index}")
    return [{"input": name, "column": column} for name, column in zip(names, columns, strict=True)], problems


def bind_targets(data: DataSection, dataset: DatasetInfo) -> tuple[list[str], list[Problem]]:
    """Return the target columns (the data set's own by default, if it has one), and what is wrong."""
    if isinstance(data.target, list):
        places = [(name, f"/data/target/{index}") for index, name in enumerate(data.target)]
    else:
        name = data.target or dataset.target
        places = [(name, "/data/target")] if name else []
    problems = [_unknown_column(name, dataset, pointer) for name, pointer in places if name not in dataset.columns]
    return [name for name, _ in places if name in dataset.columns], problems


def _choose_columns(data: DataSection, dataset: DatasetInfo, inputs: Sequence[Input]) -> list[str | None]:
    if data.inputs is not None:
        missing = inputs[len(data.inputs) :]
        return [*data.inputs, *(None for _ in missing if all(one.optional for one in missing))]
    names = [one.column or one.name for one in inputs]
    needed = [name for name, one in zip(names, inputs, strict=True) if not one.optional]
    if any(one.column for one in inputs) or (needed and all(name in dataset.columns for name in needed)):
        return [
            None if one.optional and not one.column and name not in dataset.columns else name
            for name, one in zip(names, inputs, strict=True)
        ]
    return [*dataset.inputs, *(None for one in inputs[len(dataset.inputs) :] if one.optional)]


def _check_declared(declared: Input, name: str, column: Column, pointer: str) -> list[Problem]:
    problems = []
    if declared.dtype is not None and declared.dtype != column.dtype:
        detail = f"Input `{declared.name}` is declared {declared.dtype}, but column `{name}` is {column.dtype}."
        problems.append(Problem("dtype_mismatch", detail, f"{pointer}/dtype", f"Declare {column.dtype}."))
    if declared.shape is not None and not _fits(declared.shape, column.shape):
        want, have = list(declared.shape), ["B", *column.shape]
        detail = f"Input `{declared.name}` is declared {want}, but column `{name}` gives {have}."
        problems.append(
            Problem("shape_mismatch", detail, f"{pointer}/shape", f"Declare {have}, or name another column.")
        )
    return problems


def _fits(declared: Sequence[int | str], row: Sequence[int]) -> bool:
    """A name fits any size; the batch comes first."""
    wanted = list(declared)[1:]
    return len(declared) == len(row) + 1 and all(
        isinstance(want, str) or want == have for want, have in zip(wanted, row, strict=True)
    )


def _unknown_column(name: str, dataset: DatasetInfo, pointer: str) -> Problem:
    detail = f"Data set `{dataset.name}` has no column named {name[:80]!r}."
    return Problem("unknown_column", detail, pointer, nearest(name, list(dataset.columns)))


def _offer(dataset: DatasetInfo) -> str:
    shapes = ", ".join(f"{name} {['B', *column.shape]}" for name, column in dataset.columns.items())
    return f"`{dataset.name}` has: {shapes}."
