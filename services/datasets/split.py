"""The rule that decides which rows train, which validate and which test; it depends on what is given here alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "validation", "test")
PART_NAMES = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""What a column, or a folder, may call the parts."""
Rows = NDArray[np.int64]
ReadColumn = Callable[[str], NDArray[Any]]
"""Returns the values of a column, of the rows that are to be split."""


def split_columns(split: Mapping[str, Any]) -> list[str]:
    """Return the columns that a split looks at."""
    return [split[name] for name in ("stratify", "by_group", "by_time", "column") if isinstance(split.get(name), str)]


def split_sizes(rows: int, split: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows each part gets by its share; groups and columns give parts of other sizes.

    ``test`` gets ``round(rows * test)``, ``validation`` likewise of what is left, ``train`` its share of the rest: all
    of it when the three fractions add up to 1.
    """
    test = min(rows, round(rows * split["test"]))
    validation = min(rows - test, round(rows * split["validation"]))
    rest = rows - test - validation
    whole = sum(split[part] for part in PARTS) > 1 - 1e-9
    return {"train": rest if whole else min(rest, round(rows * split["train"])), "validation": validation, "test": test}


def split_rows(rows: int, split: Mapping[str, Any], read: ReadColumn | None = None) -> dict[str, Rows]:
    """Return the row numbers of each part: ``split`` has ``train``, ``validation``, ``test`` (fractions) and ``seed``.

    ``numpy.random.default_rng(seed).permutation(rows)`` is cut into test, validation and train, in this order. With
    ``stratify`` each part takes from this order the rows of each class that are its due; with ``by_group`` whole groups
    are taken; with ``by_time`` and ``sequential`` the order is that of the column, or of the file, from train to test;
    with ``column`` and ``codes`` the column alone decides.
    """
    if split.get("column"):
        return _by_column(_values(read, split["column"]), split["codes"])
    sizes = split_sizes(rows, split)
    if split.get("by_time"):
        return _in_order(np.argsort(_values(read, split["by_time"]), kind="stable"), sizes)
    if split.get("sequential"):
        return _in_order(np.arange(rows), sizes)
    generator = np.random.default_rng(int(split["seed"]))
    if split.get("by_group"):
        return _by_group(_values(read, split["by_group"]), sizes, generator)
    order = generator.permutation(rows)
    if split.get("stratify"):
        return _stratified(order, _values(read, split["stratify"]), sizes)
    return _cut(order, sizes)


def kept_rows(rows: int, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the numbers of the rows in which none of ``columns`` misses a value."""
    kept = np.ones(rows, dtype=bool)
    for values in columns.values():
        kept &= ~is_missing(values)
    return np.flatnonzero(kept)


def is_missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether a value is missing: NaN, or the class -1."""
    missing = np.isnan(values) if values.dtype.kind == "f" else values == -1
    return np.asarray(missing.reshape(len(values), -1).any(axis=1))


def _values(read: ReadColumn | None, name: str) -> NDArray[Any]:
    if read is None:
        raise ValueError(f"the split looks at column {name!r}, but no columns are given")
    return read(name)


def _cut(order: Rows, sizes: Mapping[str, int]) -> dict[str, Rows]:
    parts, start = {}, 0
    for part in reversed(PARTS):
        parts[part] = order[start : start + sizes[part]]
        start += sizes[part]
    return {part: parts[part] for part in PARTS}


def _in_order(order: Rows, sizes: Mapping[str, int]) -> dict[str, Rows]:
    """The last rows test, those before them validate, those before them train."""
    ends = {"test": len(order), "validation": len(order) - sizes["test"]}
    ends["train"] = ends["validation"] - sizes["validation"]
    return {part: order[ends[part] - sizes[part] : ends[part]] for part in PARTS}


def _by_column(values: NDArray[Any], codes: Mapping[str, Sequence[int]]) -> dict[str, Rows]:
    return {part: np.flatnonzero(np.isin(values, list(codes[part]))) for part in PARTS}


def _by_group(values: NDArray[Any], sizes: Mapping[str, int], generator: np.random.Generator) -> dict[str, Rows]:
    """Give test, then validation, then train groups in random order, until a part would overshoot by half a group."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    owner = np.full(len(counts), -1)
    left = list(generator.permutation(len(counts)))
    for number, part in enumerate(reversed(PARTS)):
        taken = 0
        while left and taken + counts[left[0]] / 2 <= sizes[part]:
            group = left.pop(0)
            owner[group], taken = number, taken + counts[group]
    owners = owner[index.ravel()]
    order = generator.permutation(len(values))
    return {part: order[owners[order] == 2 - number] for number, part in enumerate(PARTS)}


def _stratified(order: Rows, values: NDArray[Any], sizes: Mapping[str, int]) -> dict[str, Rows]:
    _, classes = np.unique(values, return_inverse=True)
    classes = classes.ravel()
    parts, left = {}, order
    for part in reversed(PARTS):
        have = np.bincount(classes[left], minlength=int(classes.max(initial=0)) + 1)
        due = _shares(have, sizes[part])
        rank = _ranks(classes[left])
        taken = rank < due[classes[left]]
        parts[part], left = left[taken], left[~taken]
    return {part: parts[part] for part in PARTS}


def _shares(have: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Divide ``size`` in proportion to ``have``; what is left over goes to the largest remainders."""
    total = max(1, int(have.sum()))
    due = have * size // total
    remainders = have * size % total
    more = np.argsort(-remainders, kind="stable")[: size - int(due.sum())]
    due[more] += 1
    return due


def _ranks(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return of each entry how many equal ones stand before it."""
    order = np.argsort(classes, kind="stable")
    ranks = np.empty(len(classes), dtype=np.int64)
    sorted_classes = classes[order]
    starts = (
        np.flatnonzero(np.r_[True, sorted_classes[1:] != sorted_classes[:-1]]) if len(classes) else np.zeros(0, int)
    )
    lengths = np.diff(np.r_[starts, len(classes)])
    ranks[order] = np.arange(len(classes)) - np.repeat(starts, lengths)
    return ranks
