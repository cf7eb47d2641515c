"""New rows prepared with what training fitted: a few at a time, so that a data set of any size takes little memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.modules.data.columns import Stored, check_complete, make
from services.modules.data.loading import check_made
from services.modules.data.parts import Part


@dataclass(frozen=True, slots=True)
class Preparation:
    """How the columns of a checkpoint are made: ``recipes`` and what was ``fitted`` by name, the ``window`` if any.

    ``inputs`` names columns in calling order, ``classes`` gives columns of class numbers their count.
    """

    recipes: Mapping[str, Any]
    fitted: Mapping[str, Any]
    window: Mapping[str, Any] | None
    inputs: tuple[str | None, ...]
    classes: Mapping[str, int | None]

    def without(self, names: set[str]) -> Preparation:
        """Return the same for rows that lack these columns."""
        recipes = {name: recipe for name, recipe in self.recipes.items() if name not in names}
        return Preparation(recipes, self.fitted, self.window, self.inputs, self.classes)

    def needed(self) -> set[str]:
        """Return the stored columns that the model's inputs are made of."""
        return {source["column"] for name in self.inputs if name for source in self.recipes[name]["sources"]}

    def count(self, rows: int, *, ahead: bool) -> int:
        """Return how many predictions so many rows make; with ``ahead`` each window's target lies within them too."""
        if self.window is None:
            return rows
        need = self.window["length"] + (self.window["shift"] if ahead else 0)
        return int(max(0, (rows - need) // self.window["stride"] + 1))

    def part(self, stored: Mapping[str, Stored], order: Tensor, chosen: Tensor) -> Part:
        """Return rows, or windows, as a model gets them.

        Args:
            stored: the stored columns.
            order: numbers of rows in ``stored``, in the order in which windows run over them.
            chosen: which of ``order`` are wanted, or which windows.

        Raises:
            TrainingFailure: ``missing_value``, ``non_finite_data`` or ``label_out_of_range``, with column and row.
        """
        columns, finish = {}, {}
        for name, recipe in self.recipes.items():
            rows = order[self._places(name, chosen)]
            flat = rows.flatten()
            cut = {one["column"]: stored[one["column"]].take(flat) for one in recipe["sources"]}
            check_complete(recipe, stored, flat)
            made = make(name, recipe, self.fitted[name], cut)
            check_made(name, made, self.classes.get(name), flat)
            columns[name] = made.values.reshape(*rows.shape, *made.values.shape[1:])
            if made.finish is not None:
                finish[name] = made.finish
        begins = chosen if self.window is None else chosen * self.window["stride"]
        return Part(columns, self.inputs, order[begins], finish)

    def _places(self, name: str, chosen: Tensor) -> Tensor:
        """Return where in the order the rows of a column lie: [chosen], or [chosen, length] for windows."""
        window = self.window
        if window is None:
            return chosen
        begins = chosen * int(window["stride"])
        if name != window["ahead"]:
            return begins[:, None] + torch.arange(window["length"])
        if window["target"] == "sequence":
            return begins[:, None] + torch.arange(window["length"]) + int(window["shift"])
        return begins + int(window["length"]) - 1 + int(window["shift"])


def sources_of(recipes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return each stored column that recipes use, as the first of them describes it."""
    found: dict[str, dict[str, Any]] = {}
    for recipe in recipes.values():
        for source in recipe["sources"]:
            found.setdefault(source["column"], source)
    return found


def lacking(recipes: Mapping[str, Any], there: Sequence[str] | set[str]) -> set[str]:
    """Return the names of the columns that cannot be made of what is ``there``."""
    return {name for name, recipe in recipes.items() if any(one["column"] not in there for one in recipe["sources"])}
