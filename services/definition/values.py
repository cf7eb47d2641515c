"""Evaluates the expressions of ``init`` on plain values; what only torch knows stays opaque."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from services.definition import containers
from services.definition.budget import PUT, Budget
from services.definition.names import check_member
from services.definition.problems import Place, Problems, place_of
from services.definition.program import Function, Module, Program
from services.definition.tree import TENSOR, UNKNOWN, Node, Opaque


@dataclass(slots=True)
class Frame:
    """Local names, the module under construction, and the place to blame for nodes that have none."""

    names: dict[str, Any]
    node: Node | None
    place: Place


def is_key(value: object) -> bool:
    """Return whether a value may be the key of a dict: a tuple that holds a list may not."""
    if isinstance(value, tuple):
        return all(isinstance(one, Opaque) or is_key(one) for one in value)
    return isinstance(value, str | int | float | None)


class Values(Budget, ABC):
    """Expressions and budgets; subclasses say what calls of definitions and assignments do."""

    def __init__(self, program: Program, problems: Problems) -> None:
        super().__init__(problems)
        self.program = program
        self._sound: set[str] = set()
        """Layers with their arguments that were checked and are fine."""
        self._expressions: dict[type[ast.AST], Callable[[Any, Frame, Place], object]] = {
            ast.Constant: lambda node, _frame, _place: node.value, ast.Name: self._name, ast.BinOp: self._binary,
            ast.UnaryOp: self._unary, ast.BoolOp: self._boolean, ast.Compare: self._compare, ast.IfExp: self._if,
            ast.List: lambda n, f, p: self._items(n.elts, f, p), ast.Call: self._call, ast.Attribute: self._attribute,
            ast.Tuple: lambda n, f, p: tuple(self._items(n.elts, f, p)), ast.Dict: self._dict,
            ast.Subscript: self._subscript, ast.ListComp: self._comprehension, ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._dict_comprehension, ast.Slice: self._slice, ast.JoinedStr: self._joined,
        }  # fmt: skip

    @abstractmethod
    def call_definition(
        self, definition: Module | Function, arguments: list[object], keywords: dict[str, object], place: Place
    ) -> object:
        """Call a definition of the document."""

    @abstractmethod
    def own_method(self, name: str, arguments: list[object], frame: Frame, place: Place) -> object:
        """Call a method of ``self``."""

    @abstractmethod
    def operate(self, operation: ast.AST, left: object, right: object, place: Place) -> object:
        """Apply an operator."""

    @abstractmethod
    def _call(self, node: ast.Call, frame: Frame, place: Place) -> object:
        """Return what a call gives."""

    @abstractmethod
    def assign(self, target: ast.expr, value: object, frame: Frame) -> None:
        """Bind names."""

    def check_name(self, name: str, place: Place) -> None:
        """Check a computed name once it is known."""
        check_member(name, place, self.problems)

    def truth(self, test: ast.expr, frame: Frame) -> bool:
        """Return whether a condition holds; it must not depend on tensors."""
        value = self.value(test, frame)
        if isinstance(value, Opaque):
            detail = "What a model is made of must not depend on the values of tensors."
            self.stop("invalid_expression", detail, place_of(test) or frame.place)
        return True if isinstance(value, Node) else bool(value)

    def iterable(self, value: object, place: Place) -> list[object] | range:
        """Return what a loop runs over."""
        if isinstance(value, Node) and value.is_container():
            self.spend_items(len(value), place)
            return value.items()
        if isinstance(value, list | tuple | str | dict):
            self.spend_items(len(value), place)
            return list(value)
        if isinstance(value, range):
            return value
        if isinstance(value, Opaque):
            self.stop("invalid_expression", "How often a loop of init turns must not depend on tensors.", place)
        return self.stop("invalid_argument", f"A loop cannot run over {value!r:.60}.", place)

    def value(self, node: ast.expr, frame: Frame) -> Any:  # noqa: ANN401 - any plain value
        """Return the value of an expression."""
        place = place_of(node) or frame.place
        self.spend_step(place)
        return self._expressions[type(node)](node, frame, place)

    def _name(self, node: ast.Name, frame: Frame, place: Place) -> object:
        if node.id in frame.names:
            return frame.names[node.id]
        return self.missing_name(node.id, place)

    def missing_name(self, name: str, place: Place) -> object:
        """Handle a name that has no value yet."""
        self.stop("unknown_name", f"{name!r} has no value here.", place)

    def _items(self, nodes: list[ast.expr], frame: Frame, place: Place) -> list[object]:
        found: list[object] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                found += self.iterable(self.value(node.value, frame), place)
            else:
                found.append(self.value(node, frame))
        return found

    def _dict(self, node: ast.Dict, frame: Frame, place: Place) -> object:
        pairs = zip(node.keys, node.values, strict=True)
        found: dict[object, object] = {}
        for key, value in pairs:
            name = self.value(key, frame) if key is not None else None
            self._check_key(name, found, place)
            found[name] = self.value(value, frame)
        return found

    def _check_key(self, name: object, found: dict[object, object], place: Place) -> None:
        self.walk(name, place)
        if not is_key(name):
            self.stop("invalid_argument", "This cannot be the key of a dict.", place)
        if name in found:
            self.problems.add("duplicate_name", f"The key {name!r} is used twice.", place, "Rename one of them.")

    def _joined(self, node: ast.JoinedStr, frame: Frame, place: Place) -> object:
        parts = [self.value(v.value if isinstance(v, ast.FormattedValue) else v, frame) for v in node.values]
        self.walk(parts, place)
        return UNKNOWN if any(isinstance(part, Opaque) for part in parts) else "".join(map(str, parts))

    def _binary(self, node: ast.BinOp, frame: Frame, place: Place) -> object:
        left, right = self.value(node.left, frame), self.value(node.right, frame)
        result = self.operate(node.op, left, right, place)
        self.spend_items(len(result) if isinstance(result, str | list | tuple | dict) else 0, place)
        return result

    def _unary(self, node: ast.UnaryOp, frame: Frame, place: Place) -> object:
        return self.operate(node.op, self.value(node.operand, frame), None, place)

    def _boolean(self, node: ast.BoolOp, frame: Frame, place: Place) -> object:
        value: object = None
        for part in node.values:
            value = self.value(part, frame)
            if isinstance(value, Opaque):
                return UNKNOWN
            if bool(value) != isinstance(node.op, ast.And) and not isinstance(value, Node):
                return value
        return value

    def _compare(self, node: ast.Compare, frame: Frame, place: Place) -> object:
        left = self.value(node.left, frame)
        for operation, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.value(right_node, frame)
            self.walk(left, place)
            self.walk(right, place)
            if isinstance(operation, ast.In | ast.NotIn) and isinstance(right, range) and not isinstance(left, int):
                self.spend_items(len(right), place)  # Python compares it with one number after another
            result = self.operate(operation, left, right, place)
            if not result or isinstance(result, Opaque):
                return result
            left = right
        return True

    def _if(self, node: ast.IfExp, frame: Frame, place: Place) -> object:
        return self.value(node.body if self.truth(node.test, frame) else node.orelse, frame)

    def _slice(self, node: ast.Slice, frame: Frame, place: Place) -> object:
        bounds = [None if part is None else self.value(part, frame) for part in (node.lower, node.upper, node.step)]
        return UNKNOWN if any(isinstance(bound, Opaque) for bound in bounds) else slice(*bounds)

    def _subscript(self, node: ast.Subscript, frame: Frame, place: Place) -> object:
        if isinstance(node.value, ast.Attribute) and node.value.attr in containers.REGISTRIES:
            return self._registry(node, frame, place)
        owner, key = self.value(node.value, frame), self.value(node.slice, frame)
        if isinstance(key, slice | tuple):
            self.walk(key if isinstance(key, tuple) else owner, place)
        if isinstance(owner, Node) and (isinstance(key, slice) or not owner.is_numbered()):
            self.spend_items(len(owner) * PUT, place)
        if isinstance(owner, Opaque) or isinstance(key, Opaque):
            return TENSOR if owner is TENSOR else UNKNOWN
        try:
            return containers.item(owner, key)
        except (LookupError, TypeError, ValueError) as error:
            self.stop("invalid_argument", f"There is no such item: {error}.", place)

    def _registry(self, node: ast.Subscript, frame: Frame, place: Place) -> object:
        name = self.value(node.slice, frame)
        if frame.node is None or isinstance(name, Opaque):
            return UNKNOWN
        if not isinstance(name, str) or (name not in frame.node.children and name not in frame.node.values):
            self.stop("unknown_name", f"This module has no part {name!r:.80}.", place)
        return frame.node.children.get(str(name), frame.node.values.get(str(name)))

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, frame: Frame, place: Place) -> object:
        return [self.value(node.elt, inner) for inner in self.turns(node.generators[0], frame, place)]

    def _dict_comprehension(self, node: ast.DictComp, frame: Frame, place: Place) -> object:
        found: dict[object, object] = {}
        for inner in self.turns(node.generators[0], frame, place):
            name = self.value(node.key, inner)
            self.walk(name, place)
            if not is_key(name):
                self.stop("invalid_argument", "This cannot be the key of a dict.", place)
            found[name] = self.value(node.value, inner)
        return found

    def turns(self, generator: ast.comprehension, frame: Frame, place: Place) -> Iterable[Frame]:
        """Return one frame for each turn of a comprehension."""
        items = self.iterable(self.value(generator.iter, frame), place)
        self.spend_turns(len(items), place)
        self.spend_items(len(frame.names), place)
        inner = Frame(dict(frame.names), frame.node, place)
        before = self.turns_left, self.modules_left
        for index, item in enumerate(items):
            if index == 1:
                self.project(len(items), before, place)
            self.assign(generator.target, item, inner)
            if all(self.truth(test, inner) for test in generator.ifs):
                yield inner

    def _attribute(self, node: ast.Attribute, frame: Frame, place: Place) -> object:
        if isinstance(node.value, ast.Name) and node.value.id in {"torch", "math"}:
            return containers.constant(node.value.id, node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return self.own_value(node.attr, frame, place)
        owner = self.value(node.value, frame)
        if not isinstance(owner, Node):
            return UNKNOWN
        return containers.attribute(owner, node.attr)

    def own_value(self, name: str, frame: Frame, place: Place) -> object:
        """Return ``self.name``."""
        node = frame.node
        if node is None:
            return UNKNOWN
        if name in node.children:
            return node.children[name]
        if name in node.values:
            return node.values[name]
        return self.stop("unknown_name", f"self.{name} has no value yet.", place, "Declare it above.")
