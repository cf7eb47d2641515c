"""Infers what calls of a forward give, and refuses those that would change the model."""

from __future__ import annotations

import ast
from abc import abstractmethod

from services.definition.catalog import CATALOG
from services.definition.inference import kinds, results
from services.definition.inference.builtins import Arguments, Builtins
from services.definition.inference.heap import contents, count, held
from services.definition.inference.kinds import (
    A_TENSOR,
    A_TRUTH,
    ANY,
    DICT,
    HUGE,
    LIST,
    MODULE,
    NOTHING,
    SIZE,
    TENSOR,
    TEXT,
    TUPLE,
    Kind,
    Shape,
    integer,
    join,
    places,
    row,
    text,
    union,
)
from services.definition.inference.values import FREE_LENGTH, Names
from services.definition.program import Function, Module

_GROWS = {"append": 0, "insert": 1, "extend": 0, "update": 0}
"""Methods that add to a container, and which argument they add."""
CHANGES = frozenset({*_GROWS, "pop", "reverse"})
_CASTS = frozenset({"requires_grad_", "half", "float", "double", "bfloat16", "to"})
"""What ``nn.Module`` shares with tensors, and does in place."""
_HINT = "Do it in init, or change a list of the forward's own: list(…)."
SPACES = frozenset({"torch", "F", "math", "nn"})


class Calls(Builtins):
    """Torch, methods, modules, and definitions of the document."""

    @abstractmethod
    def run(self, function: Function, arguments: Arguments, node: ast.AST) -> Kind:
        """Return what a function of the document gives for these arguments."""

    def arguments(self, node: ast.Call, names: Names) -> Arguments:
        """Evaluate the arguments of a call."""
        positional, _ = self.elements(node.args, names)
        named = {keyword.arg or "**": self.kind(keyword.value, names) for keyword in node.keywords}
        hidden = "**" in named or any(isinstance(item, ast.Starred) for item in node.args)
        if "**" in named:
            named["**"] = self.heap.items(named["**"])
        return Arguments(positional, named, open_ended=hidden)

    def call(self, node: ast.Call, names: Names) -> Kind:
        """Return what a call gives."""
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._dotted(node, function, names)
        arguments = self.arguments(node, names)
        if not isinstance(function, ast.Name):
            return self.enter(self.kind(function, names), arguments, node)
        if function.id in names:
            return self.enter(names[function.id], arguments, node)
        definition = self.parts.program.definitions.get(function.id)
        if isinstance(definition, Function):
            return self.run(definition, arguments, node)
        return self.builtin(function.id, node, arguments)

    def enter(self, callee: Kind, arguments: Arguments, node: ast.AST) -> Kind:
        """Return what calling a module gives."""
        if kinds.is_any(callee):
            modules = [item for item in self.parts.program.definitions.values() if isinstance(item, Module)]
            return union([ANY, *(self.run(module.forward, arguments, node) for module in modules)])
        found = union(self._shape(shape, arguments, node) for shape in callee.modules)
        table = self.found.callees.setdefault(id(node), {})
        for shape in callee.modules:
            for key, times in self._runs(shape).items():
                table[key] = max(times, table.get(key, 0))
        return found

    def _runs(self, shape: Shape) -> dict[int, int]:
        """Return which functions of the document a module runs when it is called, and how often."""
        if isinstance(shape, str):
            definition = self.parts.program.definitions.get(shape)
            return {id(definition.forward): 1} if isinstance(definition, Module) else {}
        found: dict[int, int] = {}
        for one, times in contents(shape) if shape[0] == "Sequential" else ():
            for key, inside in self._runs(one).items():
                found[key] = found.get(key, 0) + times * inside
        return found

    def _shape(self, shape: Shape, arguments: Arguments, node: ast.AST) -> Kind:
        if isinstance(shape, str):
            definition = self.parts.program.definitions.get(shape)
            if isinstance(definition, Module):
                return self.run(definition.forward, arguments, node)
            return results.of_layer(shape, arguments.at(0, "input"))
        return self._chain(shape, arguments, node) if shape[0] == "Sequential" else NOTHING

    def _chain(self, shape: Shape, arguments: Arguments, node: ast.AST) -> Kind:
        """Each item of a Sequential gets the model's input or what another item gave."""
        inner, first = held(shape), arguments.every()
        given, out = first, first if not inner.modules else NOTHING
        for _ in range(4):
            out = join(
                out, union(self._shape(one, Arguments([given], {}, open_ended=False), node) for one in inner.modules)
            )
            if join(given, out) == given:
                return out
            given = join(given, out)
        return ANY

    def _dotted(self, node: ast.Call, function: ast.Attribute, names: Names) -> Kind:
        root: ast.expr = function.value
        while isinstance(root, ast.Attribute):
            root = root.value
        arguments = self.arguments(node, names)
        if isinstance(root, ast.Name) and root.id in SPACES and root.id not in names:
            return self._function(root.id, function.attr, node, arguments)
        if isinstance(function.value, ast.Name) and function.value.id == "self":
            method = self._method_of(self.owner, function.attr)
            return self.run(method, arguments, node) if method else self.enter(self.own(function.attr), arguments, node)
        owner = self.kind(function.value, names)
        if function.attr in CHANGES or function.attr in _CASTS:
            self._change(node, function.attr, owner, arguments)
        return self._method(owner, function.attr, node, arguments)

    def _function(self, space: str, name: str, node: ast.Call, arguments: Arguments) -> Kind:
        if space == "math":
            if name == "prod" and node.args:
                self._multiplies(node, arguments)
            if name == "lcm" and arguments.open_ended:
                self.refuse(node, "lcm takes its numbers one by one here.", None)
            result = results.of_math(name, arguments.positional)
            if name == "lcm" and result.high >= HUGE:
                self.want(node, "_grown")
                return integer(SIZE)
            return result
        if name in {"tensor", "as_tensor"} and node.args:
            self.walked(node.args[0], arguments.at(0))
        return self._pieces(name, node, results.returned(name))

    def _multiplies(self, node: ast.Call, arguments: Arguments) -> None:
        """See that a product is one of numbers: a list times a number would be a list as long as the number says."""
        for part in (self.element(arguments.at(0)), arguments.at(1, "start")):
            if kinds.is_any(part) or self.turns(arguments.at(0)) > kinds.MAX_DIMENSIONS:
                self.want(node, "_product")
            elif part.may(kinds.SEQUENCES):
                self.refuse(node, "prod multiplies numbers and tensors here.", "Multiply what lies inside.")

    def _pieces(self, name: str, node: ast.Call, result: Kind) -> Kind:
        if name not in results.PIECES:
            return result
        written = [
            item.value for item in node.args + [k.value for k in node.keywords] if isinstance(item, ast.Constant)
        ]
        pieces = max([number for number in written if type(number) is int], default=0)
        if name in {"chunk", "tensor_split"} and 0 < pieces <= FREE_LENGTH:
            return row(A_TENSOR, pieces)
        return result

    def _method_of(self, owner: str, name: str) -> Function | None:
        definition = self.parts.program.definitions.get(owner)
        methods = definition.methods if isinstance(definition, Module) else []
        return next((method for method in methods if method.name == name), None)

    def _method(self, owner: Kind, name: str, node: ast.Call, arguments: Arguments) -> Kind:
        found = []
        for shape in owner.modules:
            method = self._method_of(shape, name) if isinstance(shape, str) else None
            if method:
                found.append(self.run(method, arguments, node))
            elif name in _CASTS:
                found.append(Kind(MODULE, modules=frozenset([shape])))
            elif name in {"items", "values", "keys"} and not isinstance(shape, str):
                found.append(_view(name, text(100), held(shape), count(shape)))
            else:
                found.append(
                    self.enter(self.attribute(Kind(MODULE, modules=frozenset([shape])), name), arguments, node)
                )
        if kinds.is_any(owner):
            found += [self.run(m, arguments, node) for m in self._methods_called(name)] + [ANY]
        if owner.may(TENSOR) and name in CATALOG.methods:
            found.append(self._tensor_method(owner, name, node, arguments))
        if owner.may(LIST | DICT | TUPLE | TEXT):
            found.append(self._box_method(owner, name, node, arguments))
        return union(found)

    def _methods_called(self, name: str) -> list[Function]:
        return [found for owner in self.parts.program.definitions if (found := self._method_of(owner, name))]

    def _tensor_method(self, owner: Kind, name: str, node: ast.Call, arguments: Arguments) -> Kind:
        if name == "tolist":
            self.want(node, "_numbers")
        if name == "new_tensor" and node.args:
            self.walked(node.args[0], arguments.at(0))
        if name == "size" and arguments.positional and not arguments.open_ended:
            return integer(SIZE)
        result = self._pieces(name, node, results.returned(name))
        return join(result, Kind(TENSOR | (owner.flags & kinds.OWN))) if name.endswith("_") else result

    def _box_method(self, owner: Kind, name: str, node: ast.Call, arguments: Arguments) -> Kind:
        items, keys, length = self.heap.items(owner), self.heap.keys(owner), self.heap.length(owner.only(LIST | DICT))
        if name in {"items", "keys", "values"}:
            return _view(name, keys, items, length)
        if name in {"index", "count"}:
            if isinstance(node.func, ast.Attribute):
                self.walked(node.func.value, owner)
            return integer(SIZE)
        if name == "get":
            return union([items, arguments.at(1), A_TRUTH])
        return join(items, A_TRUTH) if name == "pop" else A_TRUTH

    def _change(self, node: ast.Call, name: str, owner: Kind, arguments: Arguments) -> None:
        """Note what a method adds to a list or dict; those of the model stay as init made them."""
        index = _GROWS.get(name)
        if name in CHANGES and index is not None:
            given = arguments.at(index) if name != "update" else arguments.every()
            added = given if name in {"append", "insert"} else join(self.element(given), self.heap.items(given))
            keys = join(self.heap.keys(given), text(100)) if name == "update" else NOTHING
            if name in {"extend", "update"} and node.args:
                self.consumed(node.args[0], given)
            self.heap.put(owner, added, keys=keys, length=HUGE)
        self.changed(node, owner, f"{name} would change the model in a forward.", lists=name in CHANGES)

    def changed(self, node: ast.AST, owner: Kind, detail: str, *, lists: bool) -> None:
        """Refuse a change of what the model owns; where the text cannot tell, a guard asks at run time."""
        own_tensor = not lists and owner.may(kinds.OWN) and not kinds.is_any(owner) and owner.may(TENSOR)
        sure = owner.may(MODULE) and owner.must(MODULE)
        if sure or own_tensor or (lists and self.heap.owns(owner)):
            self.refuse(node, detail, _HINT)
        elif owner.may(MODULE):
            self.want(node, "_local")


def _view(name: str, keys: Kind, items: Kind, length: int) -> Kind:
    return row({"keys": keys, "values": items, "items": places([keys, items])}[name], length)


def kinds_count(shape: Shape) -> int:
    """Return how many items a container has."""
    return 0 if isinstance(shape, str) else int(shape[2])  # type: ignore[call-overload]
