"""What a value of a forward may be, as far as its text tells: the lattice of the inference in ``inference``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

TENSOR, NUMBER, OTHER, INT, TEXT, TUPLE, LIST, DICT, MODULE, OWN = (1 << bit for bit in range(10))
"""NUMBER is a float; OTHER has no parts (None, a boolean, a dtype); OWN marks a parameter or buffer of the model."""
EVERYTHING = TENSOR | NUMBER | OTHER | INT | TEXT | TUPLE | LIST | DICT | MODULE
SEQUENCES = TEXT | TUPLE | LIST
BOXES = TUPLE | LIST | DICT
HUGE = 1 << 256
"""A magnitude or length that the text does not bound. Sizes are below 2^63, so a product of four stays below it."""
SIZE = 1 << 63
DATA = 1 << 255
"""A magnitude that depends on data: its products are counted."""
MAX_DIMENSIONS = 64
MAX_NESTING = 4
MAX_PARTS = 16

Shape = str | tuple[object, ...]
"""Which module it may be: a class by name, or a container with the shapes of its items."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The union of what a value may be."""

    flags: int = 0
    high: int = 0
    """Bound of an integer's magnitude."""
    length: int = 0
    """Bound of the length of a string or a tuple."""
    items: Kind | None = None
    """What a tuple holds."""
    parts: tuple[Kind, ...] | None = None
    """What a tuple holds at each place, where that is known."""
    sites: frozenset[int] = frozenset()
    """Where the lists and dicts that it may be were made."""
    modules: frozenset[Shape] = frozenset()

    def may(self, flags: int) -> bool:
        """Return whether the value may be one of these."""
        return bool(self.flags & flags)

    def must(self, flags: int) -> bool:
        """Return whether the value is one of these for certain."""
        return not self.flags & EVERYTHING & ~flags

    def only(self, flags: int) -> Kind:
        """Return the part of the union that is one of these."""
        kept = self.flags & (flags | OWN)
        if not kept & EVERYTHING:
            return NOTHING
        return Kind(
            kept,
            self.high if kept & INT else 0,
            self.length if kept & (TEXT | TUPLE) else 0,
            self.items if kept & TUPLE else None,
            self.parts if kept & TUPLE else None,
            self.sites if kept & (LIST | DICT) else frozenset(),
            self.modules if kept & MODULE else frozenset(),
        )

    @property
    def inside(self) -> Kind:
        """What a tuple holds, at any place."""
        return self.items or NOTHING


NOTHING = Kind()
ANY = Kind(EVERYTHING | OWN, HUGE, HUGE)
"""Nothing is known; its parts are as unknown."""
A_TENSOR, A_NUMBER, A_TRUTH = Kind(TENSOR), Kind(NUMBER), Kind(OTHER)


def integer(high: int) -> Kind:
    """Return an integer up to a magnitude; one that no text bounds is guarded, and so ends below 2^63."""
    return Kind(INT, min(high, HUGE))


def text(length: int) -> Kind:
    """Return a string up to a length."""
    return Kind(TEXT, length=min(length, HUGE))


def row(items: Kind, length: int) -> Kind:
    """Return an immutable sequence of equal parts: a tuple, a range, what ``zip`` gives."""
    return Kind(TUPLE, length=min(length, HUGE), items=items)


def places(parts: Iterable[Kind]) -> Kind:
    """Return a tuple of known parts."""
    found = tuple(parts)
    inside = union(found)
    return Kind(TUPLE, length=len(found), items=inside, parts=found if len(found) <= MAX_PARTS else None)


def is_any(kind: Kind) -> bool:
    """Return whether nothing is known."""
    return kind.flags & EVERYTHING == EVERYTHING


def union(kinds: Iterable[Kind]) -> Kind:
    """Return the least kind that holds all of these."""
    result = NOTHING
    for kind in kinds:
        result = join(result, kind)
    return result


def join(left: Kind, right: Kind, depth: int = 0) -> Kind:
    """Return the least kind that holds both."""
    if left is right or not right.flags or left == right:
        return left
    if not left.flags:
        return right
    if depth > MAX_NESTING or is_any(left) or is_any(right):
        return ANY
    sites = left.sites | right.sites
    modules = left.modules | right.modules
    flags, high, length = left.flags | right.flags, max(left.high, right.high), max(left.length, right.length)
    items, parts = _inside(left, right, depth)
    return Kind(flags, high, length, items, parts, sites, modules)


def _inside(left: Kind, right: Kind, depth: int) -> tuple[Kind | None, tuple[Kind, ...] | None]:
    if not left.may(TUPLE) or not right.may(TUPLE):
        known = left if left.may(TUPLE) else right
        return known.items, known.parts
    items = join(left.inside, right.inside, depth + 1)
    if left.parts is None or right.parts is None or len(left.parts) != len(right.parts):
        return items, None
    return items, tuple(join(a, b, depth + 1) for a, b in zip(left.parts, right.parts, strict=True))


def widened(before: Kind, after: Kind, depth: int = 0) -> Kind:
    """Return ``after`` with every bound that still grows taken off, so that loops come to rest."""
    if before == after or not after.flags:
        return after
    if depth > MAX_NESTING:
        return ANY
    high = HUGE if after.high > before.high else after.high
    length = HUGE if after.length > before.length else after.length
    items, parts = after.items, after.parts
    if items is not None and before.items is not None and items != before.items:
        items, parts = widened(before.items, items, depth + 1), None
    return replace(after, high=high, length=length, items=items, parts=parts)


def nesting(kind: Kind, limit: int = MAX_NESTING + 1) -> int:
    """Return how many tuples lie inside one another."""
    return 0 if limit == 0 or not kind.may(TUPLE) else 1 + nesting(kind.inside, limit - 1)


def settled(kind: Kind) -> Kind:
    """Return a kind of bounded nesting: what lies deeper is unknown."""
    return ANY if nesting(kind) > MAX_NESTING else kind
