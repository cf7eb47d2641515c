"""Lists, dicts and modules as the inference knows them: where they are made, what they hold, what the model owns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from services.definition.inference import kinds
from services.definition.inference.kinds import ANY, HUGE, NOTHING, Kind, Shape, integer, join, places, row, text, union
from services.definition.program import Module, Program
from services.definition.tree import TABLES, Node, Opaque

_INDEXED = ("MaxPool", "AdaptiveMaxPool", "FractionalMaxPool")
MAX_KEY = 100


@dataclass(slots=True)
class Site:
    """One place where lists or dicts are made, and everything that such a list may come to hold."""

    items: Kind = NOTHING
    keys: Kind = NOTHING
    length: int = 0
    own: bool = False
    """Whether the model keeps it: an init value, or a default that all calls share."""
    seen: int = 0
    """How often it grew: what grows again and again has no bound."""


@dataclass(slots=True)
class Heap:
    """All sites by number."""

    sites: dict[int, Site] = field(default_factory=dict)
    changes: int = 0

    def put(self, kind: Kind, items: Kind, *, keys: Kind = NOTHING, length: int = 0) -> None:
        """Note that the lists and dicts of ``kind`` may hold ``items``, up to ``length`` of them."""
        for number in self.sites if kinds.is_any(kind) else kind.sites:
            self.grow(number, items, keys, length)

    def grow(self, number: int, items: Kind, keys: Kind, length: int) -> Site:
        """Widen one site, which is made when it is new."""
        site = self.sites.setdefault(number, Site())
        new = kinds.settled(join(site.items, items)), join(site.keys, keys), max(site.length, min(length, HUGE))
        if new != (site.items, site.keys, site.length):
            site.seen += 1
            self.changes += 1
            if site.seen > 3:
                new = kinds.widened(site.items, new[0]), kinds.widened(site.keys, new[1]), _free(site.length, new[2])
            if site.seen > 12:
                new = ANY, ANY, HUGE
            site.items, site.keys, site.length = new
        return site

    def items(self, kind: Kind) -> Kind:
        """Return what an item of a list, or a value of a dict, may be."""
        return ANY if kinds.is_any(kind) else union(self.sites[number].items for number in kind.sites)

    def keys(self, kind: Kind) -> Kind:
        """Return what a key of a dict may be."""
        return ANY if kinds.is_any(kind) else union(self.sites[number].keys for number in kind.sites)

    def length(self, kind: Kind) -> int:
        """Return the bound of the length of a string, tuple, list or dict; tensors and their like have none."""
        if kind.may(kinds.TENSOR) or kinds.is_any(kind):
            return HUGE
        return max([kind.length, *(self.sites[number].length for number in kind.sites)])

    def weight(self, kind: Kind, depth: int = 0) -> int:
        """Return the bound of all that a comparison or ``str`` would walk through."""
        if not kind.may(kinds.BOXES):
            return 0
        if kinds.is_any(kind) or depth > kinds.MAX_NESTING:
            return HUGE
        inside = self.weight(join(kind.inside, self.items(kind)), depth + 1)
        return min(self.length(kind.only(kinds.BOXES)) * (1 + inside), HUGE)

    def owns(self, kind: Kind) -> bool:
        """Return whether the value may be a list or dict that the model keeps."""
        if kinds.is_any(kind):
            return any(site.own for site in self.sites.values())
        return any(self.sites[number].own for number in kind.sites)


def _free(before: int, after: int) -> int:
    return HUGE if after > before else after


class Parts:
    """What ``self.name`` is in each definition, read from the tree that init builds."""

    def __init__(self, program: Program, tree: Node, heap: Heap) -> None:
        self.program = program
        self.heap = heap
        self.tables: dict[str, dict[str, Kind]] = {}
        self.children: dict[str, Kind] = {}
        self.escaped: set[str] = set()
        """Definitions whose forward is called by a layer of torch."""
        self._shapes: dict[int, Shape] = {}
        self._known: dict[int, Kind] = {}
        self._tensors: dict[str, set[str]] = {}
        for node in _walk(tree):
            self._note(node)

    def shape(self, node: Node) -> Shape:
        """Return which module a node is: its class, or a container with its items."""
        known = self._shapes.get(id(node))
        if known is None:
            known = self._shapes[id(node)] = self._shape(node)
        return known

    def _shape(self, node: Node) -> Shape:
        if node.type in self.program.definitions or not node.is_container():
            indexed = node.type.startswith(_INDEXED) and node.arguments.get("return_indices") is not False
            return f"{node.type}+indices" if indexed else node.type
        if node.values and not node.children:
            return (node.type, frozenset(), len(node.values))
        counts: dict[Shape, int] = {}
        for child in node.children.values():
            one = self.shape(child)
            counts[one] = counts.get(one, 0) + 1
        return (node.type, frozenset(counts.items()), len(node.children))

    def module(self, node: Node) -> Kind:
        """Return the kind of one module."""
        return Kind(kinds.MODULE, modules=frozenset([self.shape(node)]))

    def _note(self, node: Node) -> None:
        owner = self.program.definitions.get(node.type)
        if isinstance(owner, Module):
            table = self.tables.setdefault(node.type, {})
            if node.type not in self._tensors:
                self._tensors[node.type] = owner.tensors()
            for name, value in node.values.items():
                kind = _PART if name in self._tensors[node.type] else self.value(value)
                table[name] = join(table.get(name, NOTHING), kind)
            for name, child in node.children.items():
                table[name] = join(table.get(name, NOTHING), self.module(child))
                self.children[node.type] = join(self.children.get(node.type, NOTHING), self.module(child))
        elif not node.is_container():
            self.escaped.update(child.type for child in _walk(node) if child.type in self.program.definitions)

    def value(self, value: object) -> Kind:  # noqa: PLR0911 - one type a line
        """Return the kind of a plain value that the model keeps."""
        if value is None or isinstance(value, bool):
            return kinds.A_TRUTH
        if isinstance(value, int):
            return integer(abs(value))
        if isinstance(value, float):
            return kinds.A_NUMBER
        if isinstance(value, str):
            return text(len(value))
        if isinstance(value, Node):
            return self.module(value)
        if isinstance(value, range):
            return row(integer(max(abs(value.start), abs(value.stop))), len(value))
        return ANY if isinstance(value, Opaque) else self._box(value)

    def _box(self, value: object) -> Kind:
        known = self._known.get(id(value))
        if known is not None:
            return known
        if isinstance(value, tuple):
            found = self._known[id(value)] = kinds.settled(places(map(self.value, value)))
            return found
        if not isinstance(value, list | dict):
            return ANY
        number = id(value)
        flag = kinds.LIST if isinstance(value, list) else kinds.DICT
        found = self._known[number] = Kind(flag, sites=frozenset([number]))
        self.heap.sites[number] = Site(own=True)
        items = union(map(self.value, value.values() if isinstance(value, dict) else value))
        keys = union(map(self.value, value)) if isinstance(value, dict) else NOTHING
        self.heap.sites[number] = Site(items, keys, len(value), own=True)
        return found


_PART = Kind(kinds.TENSOR | kinds.OTHER | kinds.OWN)
"""A parameter or buffer; a buffer may be None."""


def iterated(shape: Shape) -> Kind:
    """Return what a loop over a container meets."""
    if isinstance(shape, str):
        return NOTHING
    name, items, count = shape
    if name in TABLES:
        return text(MAX_KEY)
    if not items:
        return _PART if count else NOTHING
    return Kind(kinds.MODULE, modules=frozenset(one for one, _ in items))  # type: ignore[attr-defined]


def held(shape: Shape) -> Kind:
    """Return what indexing a container, or its ``values()``, gives."""
    if isinstance(shape, str):
        return NOTHING
    return iterated(("ModuleList", *shape[1:]))


def contents(shape: Shape) -> list[tuple[Shape, int]]:
    """Return the shapes of a container's items, and how often each stands in it."""
    return [] if isinstance(shape, str) else sorted(shape[1], key=repr)  # type: ignore[call-overload]


def count(shape: Shape) -> int:
    """Return how many items a container has."""
    return 0 if isinstance(shape, str) else int(shape[2])  # type: ignore[call-overload]


def _walk(tree: Node) -> Iterator[Node]:
    stack, seen = [tree], set()
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            stack += node.children.values()
