"""Choosing parameters by patterns of their names: ``*.bias``, ``backbone.*``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Return the names that at least one pattern matches; `*` stands for any characters, dots among them."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def grouped(names: Iterable[str], patterns: Sequence[str]) -> list[list[str]]:
    """Return the names each pattern gets, the first match winning, and in front those that none matches."""
    found: list[list[str]] = [[] for _ in range(len(patterns) + 1)]
    for name in names:
        place = next((index for index, pattern in enumerate(patterns, 1) if fnmatchcase(name, pattern)), 0)
        found[place].append(name)
    return found
