"""Infers what every value of every forward may be, over all calls of a document, until nothing changes."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from services.definition.inference.builtins import Arguments
from services.definition.inference.flow import LOOP_ROUNDS, WIDEN_AFTER, Flow
from services.definition.inference.heap import Heap, Parts
from services.definition.inference.kinds import (
    A_TENSOR,
    ANY,
    NOTHING,
    OTHER,
    Kind,
    integer,
    join,
    settled,
    union,
    widened,
)
from services.definition.inference.values import Findings
from services.definition.limits import MAX_RECURSION
from services.definition.program import Function, Module, Program
from services.definition.recursion import COUNTER
from services.definition.tree import Node


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


class Inference(Flow):
    """The rounds over all functions."""

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
            if signature.seen > WIDEN_AFTER:
                new = [widened(old, one) for old, one in zip(signature.arguments, new, strict=True)]
            if signature.seen > LOOP_ROUNDS:
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
        self.returns, self.exits = [], []
        names = {item.name: kind for item, kind in zip(signature.function.arguments, signature.arguments, strict=True)}
        names[COUNTER] = integer(MAX_RECURSION)
        self.body(signature.function.body, names)
        nothing = NOTHING if _returns(signature.function.body) else Kind(OTHER)
        returns = settled(join(signature.returns, union([*self.returns, nothing])))
        if returns != signature.returns:
            returns = widened(signature.returns, returns) if rounds > WIDEN_AFTER else returns
            signature.returns = ANY if rounds > LOOP_ROUNDS else returns
            self.dirty.update(dict.fromkeys(key for key in signature.callers if key in self.signatures))


def _returns(body: list[ast.stmt]) -> bool:
    """Return whether every way through a body ends in ``return``: otherwise the function may give None."""
    last = body[-1] if body else None
    if isinstance(last, ast.If):
        return _returns(last.body) and _returns(last.orelse)
    return isinstance(last, ast.Return)
