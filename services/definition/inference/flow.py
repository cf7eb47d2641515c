"""Follows the statements of a forward: branches join, loops go round until nothing changes."""

from __future__ import annotations

import ast

from services.definition.inference.calls import Calls
from services.definition.inference.heap import Heap, Parts
from services.definition.inference.kinds import (
    ANY,
    DICT,
    HUGE,
    INT,
    LIST,
    MODULE,
    NOTHING,
    OTHER,
    TENSOR,
    TEXT,
    TUPLE,
    Kind,
    join,
    settled,
    widened,
)
from services.definition.inference.values import Names
from services.definition.problems import place_of

LOOP_ROUNDS = 12
WIDEN_AFTER = 2


class Flow(Calls):
    """Statements."""

    def __init__(self, parts: Parts, heap: Heap) -> None:
        super().__init__(parts, heap)
        self.returns: list[Kind] = []
        """What the function at hand returns."""
        self.exits: list[Names] = []
        """What is bound where the loop at hand is left or goes on early."""

    def body(self, body: list[ast.stmt], names: Names) -> None:
        """Go over statements in order."""
        for statement in body:
            self.statement(statement, names)

    def statement(self, node: ast.stmt, names: Names) -> None:
        """Go over one statement."""
        self.place = place_of(node) or self.place
        if isinstance(node, ast.Assign):
            kind = self.kind(node.value, names)
            if isinstance(node.targets[0], ast.Subscript) and isinstance(node.targets[0].slice, ast.Slice):
                self.consumed(node.value, kind)
            self.bind(node.targets[0], kind, names)
        elif isinstance(node, ast.AugAssign):
            self._augmented(node, names)
        elif isinstance(node, ast.Expr):
            self.kind(node.value, names)
        elif isinstance(node, ast.Return) and node.value is not None:
            self.returns.append(self.kind(node.value, names))
        elif isinstance(node, ast.If):
            self._branch(node, names)
        elif isinstance(node, ast.For):
            self._loop(node, names)
        elif isinstance(node, ast.With):
            self.body(node.body, names)
        elif isinstance(node, ast.Assert):
            self.kind(node.test, names)
        elif isinstance(node, ast.Break | ast.Continue):
            self.exits.append(dict(names))

    def _branch(self, node: ast.If, names: Names) -> None:
        self.kind(node.test, names)
        other = dict(names)
        self.body(node.body, names)
        self.body(node.orelse, other)
        _merge(names, other)

    def _loop(self, node: ast.For, names: Names) -> None:
        outside, self.exits = self.exits, []
        for index in range(LOOP_ROUNDS):
            before = dict(names)
            inner = dict(names)
            turns = self.loop(node, node.iter, node.target, inner)
            if node.orelse:  # a while: its bound is written down
                self.found.wants.pop(id(node.iter), None)
                self.found.turns[id(node)] = turns
            self.body(node.body, inner)
            for left in [inner, *self.exits]:
                _merge(names, left)
            self.exits = []
            if index > WIDEN_AFTER:
                names.update({name: widened(before.get(name, NOTHING), kind) for name, kind in names.items()})
            if names == before:
                break
        else:
            names.update(dict.fromkeys(names, ANY))
        self.exits = outside
        self.body(node.orelse, names)

    def bind(self, target: ast.expr, kind: Kind, names: Names) -> None:
        """Bind what an assignment or a loop binds."""
        if isinstance(target, ast.Name):
            names[target.id] = settled(kind)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, self.made(target, LIST, kind, self.turns(kind)), names)
        elif isinstance(target, ast.Tuple):
            self._unpack(target, kind, names)
        elif isinstance(target, ast.Subscript):
            self._store(target, kind, names)

    def _unpack(self, target: ast.Tuple, kind: Kind, names: Names) -> None:
        plain = not any(isinstance(item, ast.Starred) for item in target.elts)
        fits = kind.parts is not None and len(kind.parts) == len(target.elts) and plain
        inside = self.element(kind)
        for index, item in enumerate(target.elts):
            part = inside
            if fits and kind.parts is not None:
                part = join(
                    kind.parts[index], self.element(Kind(kind.flags & ~TUPLE, sites=kind.sites, modules=kind.modules))
                )
            if isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Slice):
                self.refuse(item, "A slice is assigned by itself.", "Split this into several statements.")
            if isinstance(item, ast.Starred):
                self.bind(item.value, self.made(item, LIST, inside, self.turns(kind)), names)
            else:
                self.bind(item, part, names)

    def _store(self, target: ast.Subscript, kind: Kind, names: Names) -> None:
        """Note what ``owner[key] = value`` puts in; what belongs to the model stays as it is."""
        key = self.kind(target.slice, names)
        registry = target.value.attr if isinstance(target.value, ast.Attribute) else ""
        if registry in {"_modules", "_parameters"}:
            self.refuse(target, "This would change the model in a forward.", "Do it in init.")
        if registry.startswith("_"):
            return
        owner = self.kind(target.value, names)
        if owner.may(LIST | DICT):
            self.walked(target.slice, key)
            added = join(kind, self.element(kind)) if isinstance(target.slice, ast.Slice) else kind
            self.heap.put(owner, added, keys=key, length=HUGE)
        self.changed(target.value, owner, "This would change the model in a forward.", lists=True)

    def _augmented(self, node: ast.AugAssign, names: Names) -> None:
        load = node.target
        left = names.get(load.id, ANY) if isinstance(load, ast.Name) else self.kind(load, names)
        right = self.kind(node.value, names)
        result, guard = self.operate(node, node.op, left, right)
        extends = left.may(LIST) and isinstance(node.op, ast.Add)
        if extends:
            result = join(result, left.only(LIST))
            self.heap.put(left.only(LIST), self.element(right), length=HUGE)
        if left.may(LIST | DICT | MODULE) and isinstance(node.op, ast.Add | ast.Mult | ast.BitOr):
            self.changed(node, left.only(LIST | DICT | MODULE), "This would change the model in a forward.", lists=True)
        if self.found.wants.get(id(node)) == "_local":
            del self.found.wants[id(node)]
        if guard or (extends and self.turns(right) > 0):
            self._in_place(node, left, right, guard)
        self.bind(node.target, result, names)

    def _in_place(self, node: ast.AugAssign, left: Kind, right: Kind, guard: str) -> None:
        """A value that cannot be changed in place is guarded as ``a = a + b``; the others in place."""
        if isinstance(node.target, ast.Subscript) and any(isinstance(part, ast.Call) for part in ast.walk(node.target)):
            hint = "Give the index a name in a statement before."
            self.refuse(node, "What could grow without a bound is not looked up by a call.", hint)
        if left.must(INT | OTHER | TEXT | TUPLE) or (left.flags and not left.may(TENSOR | LIST | DICT | MODULE)):
            self.found.wants[id(node)] = guard
        elif left.must(LIST) and isinstance(node.op, ast.Add):
            self.found.wants.pop(id(node), None)
            self.consumed(node.value, right)
        else:
            self.found.wants[id(node)] = {ast.Add: "_added", ast.Mult: "_multiplied", ast.Pow: "_raised"}.get(
                type(node.op), "_after"
            )


def _merge(names: Names, other: Names) -> None:
    """Join what two ways through a body bind; a name that one way leaves unbound fails there."""
    for name, kind in other.items():
        names[name] = join(names.get(name, NOTHING), kind)
