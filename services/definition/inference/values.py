"""Infers what the expressions of a forward may be, and notes which of them could grow without a bound."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from services.definition.inference import kinds, results
from services.definition.inference.heap import Heap, Parts, count, held, iterated
from services.definition.inference.kinds import (
    A_NUMBER,
    A_TENSOR,
    A_TRUTH,
    ANY,
    DICT,
    LIST,
    MODULE,
    NOTHING,
    OTHER,
    SEQUENCES,
    TENSOR,
    TEXT,
    TUPLE,
    Kind,
    join,
    places,
    row,
    text,
    union,
)
from services.definition.problems import Place, place_of

FREE_LENGTH = 4_096
"""What stays below it by its text alone is not counted at run time."""
FREE_TURNS = 1_000


@dataclass(slots=True)
class Findings:
    """What the inference found, by the identity of the tree's nodes."""

    wants: dict[int, str] = field(default_factory=dict)
    """Nodes that need a guard, and which."""
    refused: dict[int, tuple[Place, str, str | None]] = field(default_factory=dict)
    """Nodes that no forward may hold: where they stand, what is wrong, and the fix."""
    turns: dict[int, int] = field(default_factory=dict)
    """How often a loop turns, where the text bounds it."""
    callees: dict[int, dict[int, int]] = field(default_factory=dict)
    """Which functions of the document a call may run, and how often."""


Names = dict[str, Kind]


class Values(ABC):
    """Expressions; operators, calls and statements are in the subclasses."""

    def __init__(self, parts: Parts, heap: Heap) -> None:
        self.parts = parts
        self.heap = heap
        self.found = Findings()
        self.owner = ""
        self.place: Place | None = None
        """The statement at hand, to blame for nodes that have no place."""
        self._visitors: dict[type[ast.AST], Callable[..., Kind]] = {
            ast.Constant: lambda node, _names: parts.value(node.value) if node.value is not ... else A_TRUTH,
            ast.Name: lambda node, names: names.get(node.id, ANY), ast.BinOp: self.binary, ast.UnaryOp: self.unary,
            ast.BoolOp: lambda node, names: union([self.kind(value, names) for value in node.values]),
            ast.Compare: self.compare, ast.IfExp: self._conditional, ast.Call: self.call, ast.List: self._list,
            ast.Attribute: self._attribute, ast.Tuple: lambda node, names: places(self.elements(node.elts, names)[0])
            if not _splatted(node) else self._splats(node, names), ast.Dict: self._dict,
            ast.Subscript: self._subscript, ast.ListComp: self._comprehension,
            ast.GeneratorExp: self._comprehension, ast.DictComp: self._dict_comprehension, ast.Slice: self._slice,
        }  # fmt: skip

    @abstractmethod
    def call(self, node: ast.Call, names: Names) -> Kind:
        """Return what a call gives."""

    @abstractmethod
    def binary(self, node: ast.BinOp, names: Names) -> Kind:
        """Return what an operator gives."""

    @abstractmethod
    def unary(self, node: ast.UnaryOp, names: Names) -> Kind:
        """Return what a sign or ``not`` gives."""

    @abstractmethod
    def compare(self, node: ast.Compare, names: Names) -> Kind:
        """Return what a comparison gives."""

    @abstractmethod
    def bind(self, target: ast.expr, kind: Kind, names: Names) -> None:
        """Bind what an assignment or a loop binds."""

    def kind(self, node: ast.expr, names: Names) -> Kind:
        """Return what an expression may be."""
        return self._visitors[type(node)](node, names)

    def want(self, node: ast.AST, guard: str) -> None:
        """Note that a node needs a guard."""
        self.found.wants.setdefault(id(node), guard)

    def refuse(self, node: ast.AST, detail: str, hint: str | None) -> None:
        """Note that a node must not stand in a forward."""
        place = place_of(node) or self.place
        if place is not None:
            self.found.refused.setdefault(id(node), (place, detail, hint))

    def made(self, node: ast.AST, flag: int, items: Kind, length: int, keys: Kind = NOTHING) -> Kind:
        """Return the list or dict that is made at ``node``."""
        self.heap.grow(id(node), items, keys, length)
        return Kind(flag, sites=frozenset([id(node)]))

    def _conditional(self, node: ast.IfExp, names: Names) -> Kind:
        self.kind(node.test, names)
        return join(self.kind(node.body, names), self.kind(node.orelse, names))

    # What lies inside

    def element(self, kind: Kind) -> Kind:
        """Return what a loop over a value meets."""
        found = [self.heap.items(kind.only(LIST)), self.heap.keys(kind.only(DICT)), kind.only(TUPLE).inside]
        found += [A_TENSOR] * kind.may(TENSOR) + [text(1)] * kind.may(TEXT) + [iterated(s) for s in kind.modules]
        return ANY if kinds.is_any(kind) else union(found)

    def turns(self, kind: Kind) -> int:
        """Return how often a loop over a value may turn."""
        most = max(map(count, kind.modules), default=0)
        return most if kind.must(MODULE) else max(most, self.heap.length(kind))

    def item(self, kind: Kind, key: ast.expr) -> Kind:
        """Return what ``value[key]`` may be."""
        if kinds.is_any(kind):
            return ANY
        at = key.value if isinstance(key, ast.Constant) and type(key.value) is int else None
        if isinstance(key, ast.UnaryOp) and isinstance(key.operand, ast.Constant) and type(key.operand.value) is int:
            at = -key.operand.value
        parts = kind.parts
        inside = parts[at] if parts and at is not None and -len(parts) <= at < len(parts) else kind.inside
        found = [inside, self.heap.items(kind)] + [held(shape) for shape in kind.modules]
        return union(found + [A_TENSOR] * kind.may(TENSOR) + [text(1)] * kind.may(TEXT))

    def _subscript(self, node: ast.Subscript, names: Names) -> Kind:
        registry = node.value.attr if isinstance(node.value, ast.Attribute) else ""
        self.kind(node.slice, names)
        if registry == "_modules":
            return self.parts.children.get(self.owner, NOTHING)
        if registry in {"_parameters", "_buffers"}:
            return Kind(TENSOR | OTHER | kinds.OWN)
        owner = self.kind(node.value, names)
        if not isinstance(node.slice, ast.Slice):
            return self.item(owner, node.slice)
        if owner.may(SEQUENCES) and self.heap.length(owner.only(SEQUENCES)) > FREE_LENGTH:
            self.want(node, "_grown")
        rest = owner.only(kinds.EVERYTHING & ~LIST)
        if rest.parts is not None:
            rest = join(rest.only(kinds.EVERYTHING & ~TUPLE), row(rest.inside, rest.length))
        if not owner.may(LIST):
            return rest
        return join(rest, self.made(node, LIST, self.heap.items(owner), self.heap.length(owner.only(LIST))))

    def _slice(self, node: ast.Slice, names: Names) -> Kind:
        for bound in (node.lower, node.upper, node.step):
            if bound is not None:
                self.kind(bound, names)
        return A_TRUTH

    def _attribute(self, node: ast.Attribute, names: Names) -> Kind:
        if isinstance(node.value, ast.Name):
            if node.value.id == "self":
                return self.own(node.attr)
            if node.value.id in {"torch", "math"} and node.value.id not in names:
                return A_NUMBER if node.attr in {"e", "inf", "nan", "pi", "tau"} else A_TRUTH
        owner = self.kind(node.value, names)
        if node.attr in results.FIELDS and not kinds.is_any(owner):
            return self._field(node, owner)
        return self.attribute(owner, node.attr)

    def _field(self, node: ast.Attribute, owner: Kind) -> Kind:
        """Return a field of what ``max``, ``sort`` and their like give, by its name; a module may have such a part."""
        known = [shape for shape in owner.modules if isinstance(shape, str) and shape in self.parts.tables]
        if owner.may(DICT) or len(known) < len(owner.modules):
            self.refuse(node, f"The method {node.attr!r} cannot be used as a value.", f"Call it: .{node.attr}().")
        return join(A_TENSOR, self.attribute(owner, node.attr)) if known else A_TENSOR

    def attribute(self, owner: Kind, name: str) -> Kind:
        """Return what ``value.name`` may be."""
        if kinds.is_any(owner):
            return ANY
        found = [results.attribute_of_tensor(name)] if owner.may(TENSOR) else []
        for shape in owner.modules:
            if isinstance(shape, str) and shape in self.parts.tables:
                found.append(self.parts.tables[shape].get(name, A_TRUTH))
            elif isinstance(shape, str):
                found.append(results.attribute_of_layer(name))
            else:
                found.append(held(shape))
        return union(found)

    def own(self, name: str) -> Kind:
        """Return what ``self.name`` may be."""
        return A_TRUTH if name == "training" else self.parts.tables.get(self.owner, {}).get(name, ANY)

    # Displays and comprehensions

    def elements(self, nodes: list[ast.expr], names: Names) -> tuple[list[Kind], int]:
        """Return the kinds of items or arguments, splats included, and how many there may be."""
        found, length = [], 0
        for node in nodes:
            if isinstance(node, ast.Starred):
                kind = self.kind(node.value, names)
                self.consumed(node.value, kind)
                found.append(self.element(kind))
                length += self.turns(kind)
            else:
                found.append(self.kind(node, names))
                length += 1
        return found, length

    def consumed(self, node: ast.expr, kind: Kind) -> None:
        """Note that something runs over the whole value."""
        if not isinstance(node, ast.GeneratorExp | ast.ListComp) and self.turns(kind) > FREE_LENGTH:
            self.want(node, "_turns" if kind.may(TENSOR) else "_items")

    def _list(self, node: ast.List, names: Names) -> Kind:
        found, length = self.elements(node.elts, names)
        return self.made(node, LIST, union(found), length)

    def _splats(self, node: ast.Tuple, names: Names) -> Kind:
        found, length = self.elements(node.elts, names)
        return row(union(found), length)

    def _dict(self, node: ast.Dict, names: Names) -> Kind:
        keys = [self.kind(key, names) for key in node.keys if key is not None]
        for key, kind in zip(node.keys, keys, strict=False):
            self.walked(key, kind)
        return self.made(node, DICT, union(self.kind(v, names) for v in node.values), len(keys), union(keys))

    def walked(self, node: ast.expr | None, kind: Kind) -> None:
        """Note that a comparison, a hash or ``str`` walks through all that lies inside."""
        if node is not None and self.heap.weight(kind) > FREE_LENGTH:
            self.want(node, "_deep")

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, names: Names) -> Kind:
        inner, turns = self._generator(node.generators[0], names)
        kind = self.kind(node.elt, inner)
        return self.made(node, LIST, kind, turns) if isinstance(node, ast.ListComp) else row(kind, turns)

    def _dict_comprehension(self, node: ast.DictComp, names: Names) -> Kind:
        inner, turns = self._generator(node.generators[0], names)
        key = self.kind(node.key, inner)
        self.walked(node.key, key)
        return self.made(node, DICT, self.kind(node.value, inner), turns, key)

    def _generator(self, node: ast.comprehension, names: Names) -> tuple[Names, int]:
        inner = dict(names)
        turns = self.loop(node, node.iter, node.target, inner)
        for test in node.ifs:
            self.kind(test, inner)
        return inner, turns

    def loop(self, node: ast.AST, iterable: ast.expr, target: ast.expr, names: Names) -> int:
        """Bind what a loop meets first; returns how often it may turn."""
        kind = self.kind(iterable, names)
        turns = self.turns(kind)
        if turns > FREE_TURNS and not kind.must(MODULE):
            self._counted(iterable, names)
        else:
            self.found.turns[id(node)] = max(turns, self.found.turns.get(id(node), 0))
        if id(iterable) in self.found.wants:
            self.found.turns.pop(id(node), None)
        self.bind(target, self.element(kind), names)
        return turns

    def _counted(self, node: ast.expr, names: Names) -> None:
        """Guard what a loop runs over; ``enumerate`` and ``zip`` have no length, what they run over has."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {
            "enumerate", "zip", "reversed"
        }:  # fmt: skip
            for argument in node.args:
                if self.turns(self.kind(argument, names)) > FREE_TURNS:
                    self._counted(argument, names)
        else:
            self.found.wants[id(node)] = "_turns"


def _splatted(node: ast.Tuple) -> bool:
    return any(isinstance(item, ast.Starred) for item in node.elts)
