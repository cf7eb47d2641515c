"""The rule that decides which rows train, which validate and which test; it depends on the numbers given alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "validation", "test")


def split_sizes(rows: int, split: Mapping[str, float]) -> dict[str, int]:
    """Return how many rows each part gets.

    ``test`` gets ``round(rows * test)``, ``validation`` likewise of what is left, ``train`` its share of the rest: all
    of it when the three fractions add up to 1.
    """
    test = min(rows, round(rows * split["test"]))
    validation = min(rows - test, round(rows * split["validation"]))
    rest = rows - test - validation
    whole = sum(split[part] for part in PARTS) > 1 - 1e-9
    return {"train": rest if whole else min(rest, round(rows * split["train"])), "validation": validation, "test": test}


def split_rows(rows: int, split: Mapping[str, float]) -> dict[str, NDArray[np.int64]]:
    """Return the row numbers of each part: ``split`` has ``train``, ``validation``, ``test`` (fractions) and ``seed``.

    ``numpy.random.default_rng(seed).permutation(rows)`` is cut into test, validation and train, in this order.
    """
    order = np.random.default_rng(int(split["seed"])).permutation(rows)
    sizes = split_sizes(rows, split)
    parts, start = {}, 0
    for part in reversed(PARTS):
        parts[part] = order[start : start + sizes[part]]
        start += sizes[part]
    return {part: parts[part] for part in PARTS}
