"""Where the rows of one request come from: the request itself, or a part of a data set's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from services.datasets.builtin import materialise
from services.datasets.plain import CODED
from services.datasets.split import split_columns
from services.errors import InvalidRequest, Problem
from services.modules.data.columns import Stored
from services.modules.data.loading import part_rows, read_stored
from services.modules.data.preparing import Preparation, lacking, sources_of
from services.modules.predict.inline import InlineRows


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to predict: ``chosen`` counts rows, or windows, within ``order``, the numbers of rows in ``stored``."""

    stored: Mapping[str, Stored]
    order: Tensor
    chosen: Tensor
    preparation: Preparation
    pointer: str
    """Where they are in the request."""
    ignored: tuple[str, ...] = ()
    """Columns that were given, and that nothing is made of."""


def inline_rows(
    request: Mapping[str, Any], preparation: Preparation, vocabularies: Mapping[str, Sequence[str]]
) -> Rows:
    """Return the rows that a request holds; a window's target, which lies ahead of them, is not looked for.

    Raises:
        InvalidRequest: with every bad cell; ``too_few_rows`` for a window.
    """
    given = InlineRows(request, vocabularies)
    pointer = "/rows" if request.get("rows") is not None else "/columns"
    ahead = {preparation.window["ahead"]} if preparation.window is not None else set()
    absent = lacking(preparation.recipes, given.given()) - {name for name in preparation.inputs if name}
    usable = preparation.without(ahead | absent)
    sources = sources_of(usable.recipes)
    stored = given.read(sources, _fills(usable))
    count = usable.count(given.count, ahead=False)
    if not count:
        length = usable.window["length"] if usable.window is not None else 1
        detail = f"{given.count} rows are fewer than one window, which has {length}."
        raise InvalidRequest([Problem("too_few_rows", detail, pointer, "Send the rows that come before, in order.")])
    ignored = tuple(sorted(given.given() - {*sources}))
    return Rows(stored, torch.arange(given.count), torch.arange(count), usable, pointer, ignored)


def file_rows(request: Mapping[str, Any], preparation: Preparation, split: Mapping[str, Any]) -> Rows:
    """Return rows of a data set.

    Args:
        request: ``{"file" | "builtin" and "cache", "part": name | None, "rows": [numbers] | None, "remap": {column:
            codes}}``; ``remap`` gives each class of a column its number in training, -2 for one that was not there.

    Raises:
        InvalidRequest: ``out_of_range``, ``empty_selection``, ``unknown_category``.
    """
    path = Path(request["file"]) if request["file"] else materialise(request["builtin"], Path(request["cache"])).path
    with safe_open(path, framework="pt") as file:
        there = {*file.keys()}
    usable = preparation.without(lacking(preparation.recipes, there))
    more = split_columns(split) if request["part"] else []
    dropping = [name for name in split.get("dropping", ()) if name in there]
    stored = read_stored(path, usable.recipes, [*more, *dropping])
    stored |= {name: _remapped(stored[name], codes) for name, codes in request["remap"].items() if name in stored}
    kept, parts = part_rows(stored, {**split, "dropping": dropping}) if request["part"] else _all_rows(stored, dropping)
    order = parts[request["part"]] if request["part"] else kept
    ahead = usable.window is not None and usable.window["ahead"] in usable.recipes
    chosen = _chosen(request["rows"], usable.count(len(order), ahead=ahead), request["part"])
    _check_known(stored, request["remap"], usable, order, request["names"])
    return Rows(stored, order, chosen, usable, "/data")


def _fills(preparation: Preparation) -> set[str]:
    """Return the columns whose missing numbers something stands for, wherever they are used."""
    sources = [source for recipe in preparation.recipes.values() for source in recipe["sources"]]
    gaps = {one["column"] for one in sources if one["missing"] in ("fail", "drop")}
    return {one["column"] for one in sources} - gaps


def _all_rows(stored: Mapping[str, Stored], dropping: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the rows that are kept, undivided."""
    everything = {"train": 1.0, "validation": 0.0, "test": 0.0, "sequential": True, "dropping": dropping}
    return part_rows(stored, everything)


def _chosen(rows: Sequence[int] | None, count: int, part: str | None) -> Tensor:
    if not count:
        detail = f"The part {part!r} has no rows." if part else "There are no rows."
        raise InvalidRequest([Problem("empty_selection", detail, "/data", "Name another part, or none for all rows.")])
    if rows is None:
        return torch.arange(count)
    problems = [
        Problem("out_of_range", f"There are {count} rows, numbered from 0; {row} is none of them.", f"/data/rows/{n}")
        for n, row in enumerate(rows)
        if row >= count
    ]
    if problems:
        raise InvalidRequest(problems[:50])
    return torch.tensor(rows, dtype=torch.int64)


def _remapped(stored: Stored, codes: Sequence[int]) -> Stored:
    """Return class numbers as training had them; what is missing stays so."""
    table = torch.tensor([*codes, -1], dtype=torch.int64)
    return Stored(table[stored.values.long()])  # -1 picks the last


def _check_known(
    stored: Mapping[str, Stored],
    remap: Mapping[str, Any],
    preparation: Preparation,
    order: Tensor,
    names: Mapping[str, Sequence[str]],
) -> None:
    """Refuse categories that training did not know, in columns that something is made of."""
    sources = sources_of(preparation.recipes)
    for column in [name for name in remap if name in sources and sources[name]["kind"] in (*CODED, "number")]:
        wrong = (stored[column].values[order] == -2).flatten()
        if bool(wrong.any()):
            row = int(order[wrong.nonzero()[0, 0]])
            unknown = ", ".join(repr(name) for name, code in zip(names[column], remap[column], strict=True) if code < 0)
            detail = f"Row {row}, column {column!r}: its category was not in the training data ({unknown[:200]})."
            raise InvalidRequest([Problem("unknown_category", detail, "/data/dataset")])
