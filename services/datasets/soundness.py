"""Whether a job's columns hold values that cannot be trained on: found before the queue where statistics hint at it.

What is too much to be read here, and what no statistics tell, the trainer finds before its first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.datasets.plain import CODED, place
from services.datasets.presentation import Presentation, ReadColumns
from services.datasets.split import kept_rows, split_columns, split_rows
from services.errors import Problem
from services.training.compatibility import compared_column

MAX_ROWS = 5_000_000
MAX_BYTES = 64 << 20
"""Of a column that is read while its owner waits."""
_FILL = 'Mend it, or set "missing" in a feature: "drop", "mean", "median" or a number.'
_IsWrong = Callable[[NDArray[Any]], NDArray[np.bool_]]


def check_values(
    shown: Presentation, sections: Mapping[str, Any], classes: int | None, read: ReadColumns
) -> list[Problem]:
    """Return what is missing, infinite or no class of the model's in the columns that a job uses, each with its row.

    Args:
        shown: the data set as the job sees it.
        sections: the job's resolved ``data`` and ``training``.
        classes: how many the model tells apart, where its loss compares classes.
        read: gives stored columns of an own data set.
    """
    if shown.stored.rows > MAX_ROWS:
        return []
    values = _Values(shown, sections["data"], read)
    found = [problem for name in sections["data"]["columns"] for problem in values.gaps(name)]
    if found or classes is None:
        return found
    compared = compared_column(sections["training"]["loss"], sections["data"]["names"])
    ignored = sections["training"]["loss"].get("ignore_index", -100)
    return [] if compared is None else values.labels(compared, classes, ignored)


class _Values:
    """The stored columns of one job."""

    def __init__(self, shown: Presentation, data: Mapping[str, Any], read: ReadColumns) -> None:
        self._shown = shown
        self._data = data
        self._read = read

    def gaps(self, name: str) -> list[Problem]:
        """Return the first gap, or number without end, in each stored column that ``name`` is made of."""
        found = []
        for index, source in enumerate(self._shown.recipes[name]["sources"]):
            column, counted = source["column"], self._shown.stored.statistics.get(source["column"], {})
            fails = source["missing"] == "fail"
            where = place(self._data, name, index)
            if source["kind"] == "number" and (counted.get("infinite") or (fails and counted.get("missing"))):
                wrong = (lambda values: ~np.isfinite(values)) if fails else np.isinf
                found += self._first(
                    source,
                    self._kept,
                    wrong,
                    code="non_finite_data",
                    text="is NaN or infinite",
                    pointer=where,
                    hint=_FILL,
                )
            elif source["kind"] in CODED and source["dtype"] != "uint8" and fails and counted.get("missing"):
                hint = f'Mend it, or set "missing": "drop" in a feature with `{column}`.'
                absent: _IsWrong = lambda values: values == -1  # noqa: E731
                found += self._first(
                    source, self._kept, absent, code="missing_value", text="has no value", pointer=where, hint=hint
                )
        return found

    def labels(self, name: str, classes: int, ignored: int) -> list[Problem]:
        """Return the first label that the model has no output for, of all rows that are used."""
        recipe, column = self._shown.recipes.get(name), self._shown.info.columns[name]
        if recipe is None or recipe["text"] or len(recipe["sources"]) > 1 or self._data.get("window"):
            return []
        hint = f"Labels run from 0 to {classes - 1}: give the last layer more outputs, or mend the labels."
        if column.classes is not None and not self._shown.stored.name.startswith("ds_"):
            detail = f"Column `{name}` has {column.classes} classes, but the model returns {classes}."
            return [Problem("label_out_of_range", detail, "/model", hint)] if column.classes > classes else []
        source = recipe["sources"][0]
        counted = self._shown.stored.statistics.get(source["column"], {})
        low, high = (0, (column.classes or 0) - 1) if column.classes else (counted.get("min"), counted.get("max"))
        if low is None or high is None or (low >= 0 and high < classes) or "float" in column.dtype:
            return []
        wrong: _IsWrong = lambda values: ((values < 0) | (values >= classes)) & (values != ignored)  # noqa: E731
        text = f"is no class of the model's, which returns {classes},"
        pointer = "/model" if high >= classes else place(self._data, name)
        return self._first(source, self._used, wrong, code="label_out_of_range", text=text, pointer=pointer, hint=hint)

    def _first(
        self,
        source: Mapping[str, Any],
        rows: NDArray[np.int64],
        wrong: _IsWrong,
        *,
        code: str,
        text: str,
        pointer: str,
        hint: str,
    ) -> list[Problem]:
        column, shape = source["column"], source["shape"]
        if self._shown.stored.rows * prod(shape) * np.dtype(source["dtype"]).itemsize > MAX_BYTES:
            return []
        bad = wrong(self._read([column])[column])
        places = rows[bad[rows].reshape(len(rows), -1).any(1)]
        if not len(places):
            return []
        row = int(places.min())
        within = f", place {np.argwhere(bad[row])[0].tolist()}" if shape else ""
        more = f" (and in {len(places) - 1} more)" if len(places) > 1 else ""
        return [Problem(code, f"Column `{column}` {text} in row {row}{within}{more}.", pointer, hint)]

    @cached_property
    def _kept(self) -> NDArray[np.int64]:
        """The rows but those that miss a value where this leaves a row out."""
        dropping = self._shown.split["dropping"]
        return kept_rows(self._shown.stored.rows, self._read(dropping) if dropping else {})

    @cached_property
    def _used(self) -> NDArray[np.int64]:
        """The rows that train, validate or test."""
        split = {**self._data["split"], **self._shown.split}
        columns = self._read(split_columns(split)) if split_columns(split) else {}
        parts = split_rows(len(self._kept), split, lambda name: columns[name][self._kept])
        used: NDArray[np.int64] = self._kept[np.concatenate([*parts.values()])]
        return used
