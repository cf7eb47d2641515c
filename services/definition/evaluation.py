"""Runs ``init`` without torch, under one budget: which modules a definition makes, how many, and of what size."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from services.definition import arithmetic
from services.definition.arithmetic import TooLarge, Unusable
from services.definition.interpreter import Interpreter, Returned
from services.definition.limits import MAX_BUILD_DEPTH
from services.definition.probe import Probe
from services.definition.problems import Place, Problems, Stopped, place_of
from services.definition.program import Function, Module, Parameter, Program
from services.definition.tree import TENSOR, UNKNOWN, Node
from services.definition.values import Frame


def evaluate(program: Program, place: Place, problems: Problems) -> Node:
    """Return the module tree of a program; problems are noted (and then the tree is not complete)."""
    evaluation = Evaluation(program, problems)
    root = Node("Identity", place)
    try:
        value = evaluation.value(program.model, Frame({}, None, place))
        if isinstance(value, Node):
            root = value
        else:
            problems.add("invalid_argument", "The model is not a module.", place, "Call a layer or a definition.")
        evaluation.probe_functions()
    except Stopped:
        pass
    return root


class Evaluation(Interpreter):
    """Builds the tree: constructors, macros, parameters, and the statements of ``__init__``."""

    def __init__(self, program: Program, problems: Problems) -> None:
        super().__init__(program, problems)
        self._made: dict[str, Node] = {}

    def probe_functions(self) -> None:
        """Check the bodies of functions that no module owns."""
        for definition in self.program.definitions.values():
            if isinstance(definition, Function) and definition.name not in self.program.macros:
                Probe(self.program, self.problems).run(definition, None)

    def call_definition(
        self, definition: Module | Function, arguments: list[object], keywords: dict[str, object], place: Place
    ) -> object:
        """Call a module class, a macro or a function with evaluated arguments."""
        if self.depth >= MAX_BUILD_DEPTH:
            self.stop("model_too_large", f"Definitions are nested deeper than {MAX_BUILD_DEPTH}.", place)
        self.depth += 1
        try:
            if isinstance(definition, Module):
                return self._module(definition, arguments, keywords, place)
            if definition.name not in self.program.macros:
                return UNKNOWN
            return self._macro(definition, self.bound(definition.arguments, arguments, keywords, place), place)
        finally:
            self.depth -= 1

    def _macro(self, definition: Function, names: dict[str, object], place: Place) -> object:
        key = f"{definition.name}{names!r}" if _is_plain(names.values()) else ""
        known = self._made.get(key)
        if known is not None:
            self.spend_modules(known.size, place)
            return known.clone(place)
        result = self._returned(definition.body, Frame(names, None, place))
        if key and isinstance(result, Node):
            self._made[key] = result.clone(place)
        return result

    def _returned(self, body: list[ast.stmt], frame: Frame) -> object:
        try:
            self.run_body(body, frame)
        except Returned as result:
            return result.value
        return None

    def _module(self, definition: Module, arguments: list[object], keywords: dict[str, object], place: Place) -> Node:
        names = self.bound(definition.constructor.arguments, arguments, keywords, place)
        key = f"{definition.name}{names!r}" if _is_plain(names.values()) else ""
        known = self._made.get(key) if key else None
        if known is not None:
            self.spend_modules(known.size, place)
            return known.clone(place)
        self.spend_modules(1, place)
        node = Node(definition.name, place, dict(names))
        node.values.update({name: names[name] for name in definition.constants if name in names})
        self.run_body(definition.constructor.body, Frame(dict(names), node, place))
        node.size = 1 + sum(child.size for child in node.children.values())
        for function in (definition.forward, *definition.methods):
            if not function.name.startswith("_"):
                Probe(self.program, self.problems).run(function, node)
        if key:
            self._made[key] = node.clone(place)
        return node

    def bound(
        self, parameters: list[Parameter], arguments: list[object], keywords: dict[str, object], place: Place
    ) -> dict[str, object]:
        """Bind arguments to parameters, defaults included."""
        names = [parameter.name for parameter in parameters]
        if len(arguments) > len(names):
            self.stop("invalid_argument", f"At most {len(names)} arguments are taken, got {len(arguments)}.", place)
        table = dict(zip(names, arguments, strict=False))
        table.update(keywords)
        for parameter in parameters:
            if parameter.name not in table:
                if parameter.default is None:
                    self.stop("missing", f"The argument {parameter.name!r} is missing.", place)
                else:
                    table[parameter.name] = self.value(parameter.default, Frame({}, None, place))
        extra = [name for name in table if name not in names]
        if extra:
            self.stop("extra_forbidden", f"There is no argument {extra[0]!r}.", place)
        return table

    def assign(self, target: ast.expr, value: object, frame: Frame) -> None:
        """Bind names, or a part of ``self``."""
        if isinstance(target, ast.Attribute) and frame.node is not None:
            self._part(self._owner(target, frame), target.attr, value, place_of(target) or frame.place)
        elif isinstance(target, ast.Attribute):
            pass
        else:
            super().assign(target, value, frame)

    def _owner(self, target: ast.Attribute, frame: Frame) -> Node:
        if isinstance(target.value, ast.Name) and target.value.id == "self" and frame.node is not None:
            return frame.node
        owner = self.value(target.value, frame)
        if not isinstance(owner, Node):
            self.stop("unknown_name", "This path does not lead to a module.", place_of(target) or frame.place)
        return owner

    def _part(self, node: Node, name: str, value: object, place: Place) -> None:
        if isinstance(value, Node):
            if name in node.children:
                self.problems.add("duplicate_name", f"The name {name!r} is used twice.", place, "Rename one.")
            node.children[name] = value
        elif isinstance(value, list | dict | tuple) and _holds_node(value):
            hint = "Use ModuleList or ModuleDict, so that its parameters belong to the model."
            self.problems.add("invalid_argument", f"{name!r} is a plain list of modules.", place, hint)
        node.values[name] = value

    def own_method(self, name: str, arguments: list[object], frame: Frame, place: Place) -> object:
        """Handle ``self.add_module`` and its like."""
        node = frame.node
        if node is None or name not in {"add_module", "register_parameter", "register_buffer"}:
            return UNKNOWN
        key, value = arguments[0], arguments[1] if len(arguments) > 1 else None
        if not isinstance(key, str):
            return None
        if key in node.values or key in node.children:
            self.problems.add("duplicate_name", f"The name {key!r} is used twice.", place, "Rename one of them.")
        if name == "add_module" and value is not None and not isinstance(value, Node):
            self.problems.add("invalid_argument", f"{key!r} is not a module.", place, "Call a layer here.")
        self.check_name(key, place)
        self._part(node, key, value if name == "add_module" else TENSOR, place)
        return None

    def operate(self, operation: ast.AST, left: object, right: object, place: Place) -> object:
        """Apply an operator within the limits."""
        try:
            return arithmetic.apply(operation, left, right)
        except TooLarge as error:
            self.stop("model_too_large", f"Too large: {error}.", place)
        except Unusable as error:
            self.stop("invalid_argument", f"This cannot be computed: {error}.", place)


def _is_plain(values: Iterable[object]) -> bool:
    return all(
        isinstance(value, bool | int | float | str | type(None))
        or (isinstance(value, tuple | list) and _is_plain(value))
        for value in values
    )


def _holds_node(value: object) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(item, Node) for item in items)
