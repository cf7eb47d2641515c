"""Evaluates calls: definitions, layers, builtins, and methods of lists, dicts and containers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from services.definition import containers
from services.definition.arithmetic import TooLarge, Unusable, call_builtin, call_math
from services.definition.budget import PUT
from services.definition.catalog import CATALOG
from services.definition.constraints import argument_table, check_elements, check_layer
from services.definition.names import BUILTINS
from services.definition.problems import Place, place_of
from services.definition.tree import SEQUENCES, TABLES, TENSOR, UNKNOWN, Node, Opaque
from services.definition.values import Frame, Values


class Calling(Values):
    """The part of the evaluator that knows callees."""

    def _call(self, node: ast.Call, frame: Frame, place: Place) -> object:
        function = node.func
        if isinstance(function, ast.Attribute):
            return self._call_attribute(node, function, frame, place)
        arguments, keywords = self.arguments(node, frame, place)
        if not isinstance(function, ast.Name):
            return self.call_value(self.value(function, frame), place)
        name = function.id
        if name in frame.names:
            return self.call_value(frame.names[name], place)
        if name in self.program.definitions:
            return self.call_definition(self.program.definitions[name], arguments, keywords, place)
        if name in BUILTINS or name == "OrderedDict":
            self._pay(name, arguments, place)
            return self._limited(lambda: call_builtin(name, arguments, keywords), place)
        return UNKNOWN

    def _pay(self, name: str, arguments: list[Any], place: Place) -> None:
        """Pay for what a builtin goes through: ``len``, ``range`` and conversions of numbers go through nothing."""
        for argument in arguments:
            if name in {"str", "sorted", "min", "max", "sum"}:
                self.walk(argument, place)
            if isinstance(argument, list | tuple | dict | range) and name not in {"len", "range", "bool"}:
                self.spend_items(len(argument), place)
            elif isinstance(argument, Node) and argument.is_container() and name not in {"len", "requires_grad_"}:
                self.spend_items(len(argument) * PUT, place)

    def call_value(self, value: object, place: Place) -> object:
        """Call what an expression gave: in init a module is not run."""
        return UNKNOWN

    def _limited(self, compute: Callable[[], object], place: Place) -> object:
        try:
            return compute()
        except TooLarge as error:
            self.stop("model_too_large", f"Too large: {error}.", place, "Make it smaller.")
        except Unusable as error:
            self.stop("invalid_argument", f"This cannot be computed: {error}.", place)

    def on_call(self, name: str) -> None:
        """A function of torch is called: for who watches."""

    def arguments(self, node: ast.Call, frame: Frame, place: Place) -> tuple[list[Any], dict[str, Any]]:
        """Return the values of a call's arguments."""
        positional = self._items(node.args, frame, place)
        keywords: dict[str, object] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, frame)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict):
                keywords.update({str(key): item for key, item in value.items()})
        return positional, keywords

    def _call_attribute(self, node: ast.Call, function: ast.Attribute, frame: Frame, place: Place) -> object:
        if function.attr == "apply":  # a weight rule: it makes no modules
            return UNKNOWN
        space = ast.unparse(function.value) if _is_space(function.value, frame) else ""
        arguments, keywords = self.arguments(node, frame, place)
        if space == "nn":
            return self._layer(node, function.attr, arguments, keywords, place)
        if space == "math":
            self._pay(function.attr, arguments, place)
            return self._limited(lambda: call_math(function.attr, arguments), place)
        if space:
            check_elements(function.attr, arguments, place, self.problems)
            self.on_call(function.attr)
            return TENSOR
        if isinstance(function.value, ast.Name) and function.value.id == "self":
            return self.own_method(function.attr, arguments, frame, place)
        owner = self.value(function.value, frame)
        self._pay(function.attr, [owner, *arguments] if function.attr not in {"append", "pop", "get"} else [], place)
        if function.attr == "pop" and arguments and isinstance(owner, list):
            self.spend_items(len(owner) // 16, place)  # what stands behind it moves up
        try:
            result = containers.method(owner, function.attr, arguments, keywords)
        except (LookupError, TypeError, ValueError) as error:
            self.stop("invalid_argument", f"{function.attr}: {error}.", place)
        return result

    def _layer(self, node: ast.Call, name: str, arguments: list[Any], keywords: dict[str, Any], place: Place) -> object:
        if name == "Parameter":
            return TENSOR
        self.spend_modules(1, place)
        layer = Node(name, place)
        if name in SEQUENCES or name in TABLES:
            self._fill(layer, arguments, place)
            return layer
        layer.arguments = argument_table(name, arguments, keywords)
        layer.places = _argument_places(name, node)
        self.walk(list(layer.arguments.values()), place)
        key = f"{name}{layer.arguments!r}"
        if key not in self._sound:
            found = len(self.problems.found)
            check_layer(layer, self.problems)
            if len(self.problems.found) == found:
                self._sound.add(key)
        layer.children = containers.inner_modules(layer)
        layer.size += sum(child.size for child in layer.children.values()) + containers.hidden_modules(layer)
        if layer.size > 1:
            self.spend_modules(layer.size - 1, place)
        return layer

    def _fill(self, layer: Node, arguments: list[Any], place: Place) -> None:
        items = arguments
        if arguments and (layer.type != "Sequential" or isinstance(arguments[0], dict)):
            items = arguments[0]
        if isinstance(items, Opaque):
            return
        self._pay(layer.type, [items], place)
        try:
            pairs = list(items.items()) if isinstance(items, dict) else containers.pairs(items, layer.type)
        except (TypeError, LookupError):
            detail = f"{layer.type} takes {'names with their' if layer.type in TABLES else 'a list of'} items."
            self.stop("invalid_argument", detail, place, "Write ModuleList([ReLU()]), ModuleDict({'a': ReLU()}).")
        for index, (name, item) in enumerate(pairs):
            if not isinstance(item, Node) and layer.type in {"Sequential", "ModuleList", "ModuleDict"}:
                detail = f"Item {index if name is None else name!r} of this {layer.type} is not a module."
                self.problems.add("invalid_argument", detail, place, "Call a layer: ReLU().")
                continue
            if name is not None and not str(name).isdigit():
                self.check_name(str(name), place)
            layer.append(item, None if name is None else str(name))


def _is_space(node: ast.expr, frame: Frame) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in {"torch", "nn", "F", "math"} and node.id not in frame.names


def _argument_places(name: str, node: ast.Call) -> dict[str, Place]:
    parameters = [parameter.name for parameter in CATALOG.classes[name].parameters if parameter.kind in "pa"]
    pairs = [*zip(parameters, node.args, strict=False), *((k.arg or "", k.value) for k in node.keywords)]
    return {argument: place for argument, value in pairs if (place := place_of(value)) is not None}
