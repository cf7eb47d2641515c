"""Reads a job's data file and makes of it the three parts that training works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from services.datasets.catalog import Column
from services.datasets.plain import place, plain_recipe
from services.datasets.split import kept_rows, split_columns, split_rows
from services.errors import TrainingFailure, user_failure
from services.modules.data.columns import Made, Stored, check_complete, fit, make
from services.modules.data.parts import Part

OFFSETS = "#offsets"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The parts by name, and what must be known to prepare other rows as these were: plain JSON for checkpoints."""

    parts: dict[str, Part]
    preprocessing: dict[str, Any]


def load_data(data: Mapping[str, Any], device: torch.device) -> Loaded:
    """Read the columns a job uses and cut them into ``train``, ``validation`` and ``test``, on ``device``.

    Raises:
        TrainingFailure: ``non_finite_data``, ``missing_value`` or ``label_out_of_range``, with column and row;
            ``empty_dataset``.
    """
    recipes = data.get("recipes") or _plain_recipes(data)
    split = data["split"]
    stored = read_stored(Path(data["file"]), recipes, [*split_columns(split), *split.get("dropping", ())])
    kept, numbers = part_rows(stored, split)
    if not len(numbers["train"]):
        raise user_failure("empty_dataset", "No row is left to train on.", hint="Give train a larger share.")
    fitted, columns = {}, {}
    for name, recipe in recipes.items():
        with _pointing(place(data, name)):
            check_complete(recipe, stored, kept)
            fitted[name] = fit(recipe, stored, numbers["train"])
            columns[name] = make(name, recipe, fitted[name], stored)
            check_made(name, columns[name], data["columns"][name].get("classes"), kept)
    parts = {part: _part(rows, columns, data, device) for part, rows in numbers.items()}
    if not len(parts["train"]):
        detail = f"The {len(numbers['train'])} training rows are fewer than one window needs."
        raise user_failure("empty_dataset", detail, hint="Use shorter windows.")
    shown = {"recipes": recipes, "fitted": fitted, "window": data.get("window")}
    return Loaded(parts, {**shown, "vocabularies": data.get("vocabularies", {})})


@contextmanager
def _pointing(pointer: str) -> Iterator[None]:
    """Say of what fails where the request names the column."""
    try:
        yield
    except TrainingFailure as failure:
        failure.pointer = failure.pointer or pointer
        raise


def _plain_recipes(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain_recipe(name, Column.from_dict(column)) for name, column in data["columns"].items()}


def read_stored(path: Path, recipes: Mapping[str, Any], more: Sequence[str] = ()) -> dict[str, Stored]:
    """Return the columns of a prepared file that recipes need, and ``more``; they are mapped, not read."""
    wanted = [source["column"] for recipe in recipes.values() for source in recipe["sources"]]
    with safe_open(path, framework="pt") as file:
        there = set(file.keys())
        return {
            name: Stored(file.get_tensor(name), file.get_tensor(name + OFFSETS) if name + OFFSETS in there else None)
            for name in dict.fromkeys([*wanted, *more])
        }


def part_rows(stored: Mapping[str, Stored], split: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the numbers of all rows but those that miss a value where this leaves a row out, and those of each part.

    ``stored`` has the columns that the split looks at, and one more at least.
    """
    total = len(next(iter(stored.values())))
    kept = torch.from_numpy(kept_rows(total, {name: stored[name].values.numpy() for name in split.get("dropping", ())}))
    parts = split_rows(len(kept), split, lambda name: stored[name].values[kept].numpy())
    return kept, {name: kept[torch.from_numpy(rows)] for name, rows in parts.items()}


def _part(rows: Tensor, columns: Mapping[str, Made], data: Mapping[str, Any], device: torch.device) -> Part:
    window = data.get("window")
    whole = {name: made.values[rows].to(device) for name, made in columns.items()}
    finish = {name: made.finish for name, made in columns.items() if made.finish is not None}
    inputs = tuple(data["inputs"])
    if window is None:
        return Part(whole, inputs, rows, finish)
    count = max(0, (len(rows) - window["length"] - window["shift"]) // window["stride"] + 1)
    cut = {name: _windows(name, values, window)[:count] for name, values in whole.items()}
    return Part(cut, inputs, rows[:: window["stride"]][:count], finish)


def _windows(name: str, values: Tensor, window: Mapping[str, Any]) -> Tensor:
    """Return [windows, length, …] as a view of the rows; of the target, its rows ``shift`` further on."""
    length, stride = window["length"], window["stride"]
    if name != window["ahead"]:
        return _unfold(values, length, stride)
    if window["target"] == "sequence":
        return _unfold(values[window["shift"] :], length, stride)
    return values[length - 1 + window["shift"] :: stride]


def _unfold(values: Tensor, length: int, stride: int) -> Tensor:
    if len(values) < length:
        return values.new_empty(0, length, *values.shape[1:])
    return values.unfold(0, length, stride).movedim(-1, 1)


def check_made(name: str, made: Made, classes: int | None, kept: Tensor) -> None:
    """Look at every value of a column: of all rows, or of the ``kept`` ones, which are known by these numbers.

    Raises:
        TrainingFailure: ``non_finite_data`` or ``label_out_of_range``, with column and row.
    """
    if not made.values.is_floating_point() and classes is None:
        return
    values = made.values if len(kept) == len(made.values) else made.values[kept]
    if values.is_floating_point():
        _check_finite(name, values, kept)
    elif classes is not None:
        _check_labels(name, values, classes, kept)


def _check_finite(name: str, values: Tensor, kept: Tensor) -> None:
    if bool(torch.isfinite(values).all()):
        return
    wrong = ~torch.isfinite(values)
    row = _first_row(wrong, kept)
    within = wrong[int((kept == row).nonzero()[0])].nonzero()
    where = f", place {within[0].tolist()}" if values.dim() > 1 else ""
    hint = 'Remove or fill such rows: "missing" in a feature can do it.'
    raise user_failure("non_finite_data", f"Column `{name}` is NaN or infinite in row {row}{where}.", hint=hint)


def _check_labels(name: str, values: Tensor, classes: int, kept: Tensor) -> None:
    wrong = (values < 0) | (values >= classes)
    if bool(wrong.any()):
        row = _first_row(wrong, kept)
        value = int(values.reshape(len(values), -1)[wrong.reshape(len(values), -1)][0])
        raise user_failure(
            "label_out_of_range",
            f"Column `{name}` is {value} in row {row}, but has {classes} classes.",
            hint=f"Labels run from 0 to {classes - 1}.",
        )


def _first_row(wrong: Tensor, kept: Tensor) -> int:
    """Return the lowest number of a row in which something is wrong."""
    return int(kept[wrong.reshape(len(wrong), -1).any(1)].min())
