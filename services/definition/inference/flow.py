"""Infers what every value of every forward may be, over all calls of a document, until nothing changes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from services.definition.inference.builtins import Arguments
from services.definition.inference.calls import Calls
from services.definition.inference.heap import Heap, Parts
from services.definition.inference.kinds import (
    A_TENSOR,
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
    integer,
    join,
    settled,
    union,
    widened,
)
from services.definition.inference.values import Findings, Names
from services.definition.limits import MAX_RECURSION
from services.definition.problems import place_of
from services.definition.program import Function, Module, Program
from services.definition.recursion import COUNTER
from services.definition.tree import Node

_LOOP_ROUNDS = 12
_WIDEN_AFTER = 2


@dataclass(slots=True)
class Signature:
    """What is known of a function of the document: what it is given anywhere, and what it gives."""

    function: Function
    owner: str
    arguments: list[Kind]
    returns: Kind = NOTHING
    seen: int = 0
    callers: set[int] = field(default_factory=set)


def infer(program: Program, tree: Node) -> tuple[Findings, dict[int, Function]]:
    """Return what the forwards of a program need, and its functions by key; ``tree`` is what its init builds."""
    inference = Inference(Parts(program, tree, heap := Heap()), heap)
    inference.enter(inference.parts.module(tree), inference.inputs(tree), ast.Pass())
    for name in inference.parts.escaped:
        inference.expose(name)
    inference.settle()
    for name in program.definitions:
        inference.expose(name, unseen=True)
    inference.settle()
    return inference.found, {key: signature.function for key, signature in inference.signatures.items()}


class Inference(Calls):
    """Statements, and the rounds over all functions."""

    def __init__(self, parts: Parts, heap: Heap) -> None:
        super().__init__(parts, heap)
        self.signatures: dict[int, Signature] = {}
        self.dirty: dict[int, None] = {}
        self._owners = {
            id(function): name
            for name, item in parts.program.definitions.items()
            for function in ([item.forward, *item.methods] if isinstance(item, Module) else [item])
        }
        self._running = 0
        self._returns: list[Kind] = []
        self._exits: list[Names] = []

    def inputs(self, tree: Node) -> Arguments:
        """Return what the trainer gives the model: tensors, and the defaults of what it leaves out."""
        owner = self.parts.program.definitions.get(tree.type)
        taken = owner.forward.arguments if isinstance(owner, Module) else []
        return Arguments([A_TENSOR] * max(len(taken), 1), {}, open_ended=False)

    def expose(self, name: str, *, unseen: bool = False) -> None:
        """Run the functions of a definition with arguments of which nothing is known."""
        item = self.parts.program.definitions[name]
        if isinstance(item, Function) and name in self.parts.program.macros:
            return
        functions = [item.forward, *(item.methods if unseen else [])] if isinstance(item, Module) else [item]
        for function in functions:
            if not function.name.startswith("_") and not (unseen and id(function) in self.signatures):
                given = Arguments([ANY] * len(function.arguments), {}, open_ended=False)
                self.run(function, given, ast.Pass())

    def run(self, function: Function, arguments: Arguments, node: ast.AST) -> Kind:
        """Note a call, and return what the function is known to give."""
        key = id(function)
        self.found.callees.setdefault(id(node), {}).setdefault(key, 1)
        signature = self.signatures.get(key)
        if signature is None:
            signature = Signature(function, self._owners[key], [NOTHING] * len(function.arguments))
            self.signatures[key] = signature
            self.dirty[key] = None
        signature.callers.add(self._running)
        given = [self._given(signature, index, arguments) for index in range(len(signature.arguments))]
        new = [settled(join(old, one)) for old, one in zip(signature.arguments, given, strict=True)]
        if new != signature.arguments:
            signature.seen += 1
            if signature.seen > _WIDEN_AFTER:
                new = [widened(old, one) for old, one in zip(signature.arguments, new, strict=True)]
            if signature.seen > _LOOP_ROUNDS:
                new = [ANY] * len(new)
            signature.arguments = new
            self.dirty[key] = None
        return signature.returns

    def _given(self, signature: Signature, index: int, arguments: Arguments) -> Kind:
        parameter = signature.function.arguments[index]
        known = arguments.at(index, parameter.name)
        if parameter.default is None:
            return known
        return join(known, self._default(parameter.default))

    def _default(self, node: ast.expr) -> Kind:
        """A dict that is a default is one dict for all calls."""
        kind = self.kind(node, {})
        for number in kind.sites:
            self.heap.sites[number].own = True
        return kind

    def settle(self) -> None:
        """Go over the functions until nothing changes."""
        rounds: dict[int, int] = {}
        while self.dirty:
            key = next(iter(self.dirty))
            del self.dirty[key]
            rounds[key] = rounds.get(key, 0) + 1
            before = self.heap.changes
            self._pass_over(key, self.signatures[key], rounds[key])
            if self.heap.changes != before:
                self.dirty.update(dict.fromkeys(self.signatures))

    def _pass_over(self, key: int, signature: Signature, rounds: int) -> None:
        self._running, self.owner = key, signature.owner
        self._returns, self._exits = [], []
        names = {item.name: kind for item, kind in zip(signature.function.arguments, signature.arguments, strict=True)}
        names[COUNTER] = integer(MAX_RECURSION)
        self.body(signature.function.body, names)
        nothing = NOTHING if _returns(signature.function.body) else Kind(OTHER)
        returns = settled(join(signature.returns, union([*self._returns, nothing])))
        if returns != signature.returns:
            returns = widened(signature.returns, returns) if rounds > _WIDEN_AFTER else returns
            signature.returns = ANY if rounds > _LOOP_ROUNDS else returns
            self.dirty.update(dict.fromkeys(key for key in signature.callers if key in self.signatures))

    # Statements

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
            self._returns.append(self.kind(node.value, names))
        elif isinstance(node, ast.If):
            self._branch(node, names)
        elif isinstance(node, ast.For):
            self._loop(node, names)
        elif isinstance(node, ast.Assert):
            self.kind(node.test, names)
        elif isinstance(node, ast.Break | ast.Continue):
            self._exits.append(dict(names))

    def _branch(self, node: ast.If, names: Names) -> None:
        self.kind(node.test, names)
        other = dict(names)
        self.body(node.body, names)
        self.body(node.orelse, other)
        _merge(names, other)

    def _loop(self, node: ast.For, names: Names) -> None:
        outside, self._exits = self._exits, []
        for index in range(_LOOP_ROUNDS):
            before = dict(names)
            inner = dict(names)
            turns = self.loop(node, node.iter, node.target, inner)
            if node.orelse:  # a while: its bound is written down
                self.found.wants.pop(id(node.iter), None)
                self.found.turns[id(node)] = turns
            self.body(node.body, inner)
            for left in [inner, *self._exits]:
                _merge(names, left)
            self._exits = []
            if index > _WIDEN_AFTER:
                names.update({name: widened(before.get(name, NOTHING), kind) for name, kind in names.items()})
            if names == before:
                break
        else:
            names.update(dict.fromkeys(names, ANY))
        self._exits = outside
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


def _returns(body: list[ast.stmt]) -> bool:
    """Return whether every way through a body ends in ``return``: otherwise the function may give None."""
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return _returns(last.body) and _returns(last.orelse)
    return isinstance(last, ast.Return)
