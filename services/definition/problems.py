"""Where something stands in a document, and the list of everything that is wrong with it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from services.definition.limits import MAX_PROBLEMS
from services.errors import InvalidRequest, Problem

_Node = TypeVar("_Node", bound=ast.AST)


@dataclass(frozen=True, slots=True)
class Place:
    """A JSON Pointer, and for strings the column (from 1) inside the string."""

    pointer: str
    column: int | None = None

    def child(self, *tokens: str | int) -> Place:
        """Return the place of a member or item below this one."""
        pointer = self.pointer
        for token in tokens:
            pointer += f"/{token}" if isinstance(token, int) else "/" + str(token).replace("~", "~0").replace("/", "~1")
        return Place(pointer)

    def at(self, column: int) -> Place:
        """Return the place of a character of the string here."""
        return Place(self.pointer, column)


_FAR = 6
"""Names whose lengths differ by more are no slips of the pen."""


class Problems:
    """Collects problems, so that a client sees all of them at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, code: str, detail: str, place: Place, hint: str | None = None) -> None:
        """Note one problem; the same thing at the same place is noted once.

        Raises:
            Stopped: there are so many that looking further helps nobody.
        """
        problem = Problem(code, detail, place.pointer, hint, place.column)
        if problem not in self.found:
            self.found.append(problem)
        if len(self.found) >= MAX_PROBLEMS:  # looking for nearest names is dear: a document of mistakes ends here
            raise Stopped

    def unknown(self, code: str, what: str, name: str, known: Iterable[str], place: Place) -> None:
        """Note a name that is not there, with the nearest names that are."""
        self.add(code, f"There is no {what} {name[:80]!r}.", place, nearest_hint(name, known))

    def raise_if_any(self) -> None:
        """Raise everything found as one ``InvalidRequest``."""
        if self.found:
            raise InvalidRequest(self.found)


class Stopped(Exception):
    """The check cannot go on; the problem is already noted."""


def nearest_hint(name: str, known: Iterable[str]) -> str | None:
    """Return «Did you mean …?» with up to three near names, or ``None``."""
    table = {candidate.lower(): candidate for candidate in known if abs(len(candidate) - len(name)) <= _FAR}
    matches = get_close_matches(name[:80].lower(), table, n=3, cutoff=0.6)
    names = ", ".join(table[match] for match in matches)
    return f"Did you mean {names}?" if names else None


def mark(node: _Node, place: Place) -> _Node:
    """Remember on a tree node where in the document it comes from."""
    node.origin = place  # type: ignore[attr-defined]
    return node


def place_of(node: ast.AST) -> Place | None:
    """Return where a tree node comes from, if it was marked."""
    return getattr(node, "origin", None)
