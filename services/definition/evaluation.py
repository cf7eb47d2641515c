"""Runs ``init`` without torch, under one budget: which modules a definition makes, how many, and of what size."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from services.definition import arithmetic
from services.definition.arithmetic import TooLarge, Unusable
from services.definition.interpreter import Interpreter, Returned
from services.definition.limits import MAX_BUILD_DEPTH, MAX_RECURSIVE_CALLS
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

    most_calls = MAX_RECURSIVE_CALLS

    def __init__(self, program: Program, problems: Problems) -> None:
        super().__init__(program, problems)
        self._made: dict[str, object] = {}
        self._stack: list[tuple[str, str]] = []
        """The definitions at work, outermost first: key (empty where arguments are not plain), and how it reads."""
        self._recursive_calls = 0

    def probe_functions(self) -> None:
        """Check the bodies of functions that no module owns."""
        for definition in self.program.definitions.values():
            if isinstance(definition, Function) and definition.name not in self.program.macros:
                self._probe(definition, None)

    def _probe(self, function: Function, node: Node | None) -> None:
        probe = Probe(self.program, self.problems)
        probe.share(self)
        probe.run(function, node)
        self.share(probe)

    def call_definition(
        self, definition: Module | Function, arguments: list[object], keywords: dict[str, object], place: Place
    ) -> object:
        """Call a module class, a macro or a function with evaluated arguments."""
        if isinstance(definition, Function) and definition.name not in self.program.macros:
            return UNKNOWN
        taken = definition.constructor.arguments if isinstance(definition, Module) else definition.arguments
        names = self.bound(taken, arguments, keywords, place)
        self.walk(list(names.values()), place)
        key = f"{definition.name}{names!r}" if _is_plain(names.values()) else ""
        if key in self._made:
            return self._again(self._made[key], place)
        self._enter(definition.name, names, key, place)
        if isinstance(definition, Module):
            result: object = self._module(definition, names, place)
        else:
            result = self._returned(definition.body, Frame(dict(names), None, place))
        self._stack.pop()
        self.walk(result, place)
        kept = key and (isinstance(result, Node) or _is_plain([result]))
        if kept and key == f"{definition.name}{names!r}":  # it did not change a list that it was given
            self.remember(key, result)
        return result

    def remember(self, key: str, result: object) -> None:
        """Keep what a definition gave, as it is now."""
        self._made[key] = result.freeze() if isinstance(result, Node) else result

    def _again(self, known: object, place: Place) -> object:
        """Return what a definition gave before for the same arguments."""
        if not isinstance(known, Node):
            return list(known) if isinstance(known, list) else known
        self.spend_modules(known.size, place)
        return known.copied(place)

    def _enter(self, name: str, names: dict[str, object], key: str, place: Place) -> None:
        """Refuse definitions that go on without end."""
        call = f"{name}({', '.join(map(_short, names.values()))})"
        recursive = any(call_of.startswith(f"{name}(") for _, call_of in self._stack)
        self._recursive_calls += recursive
        endless = bool(key) and key in {known for known, _ in self._stack}
        deep, many = len(self._stack) >= MAX_BUILD_DEPTH, self._recursive_calls > self.most_calls
        self._stack.append((key, call))
        if endless or (recursive and (deep or many)):
            chain = [text for _, text in self._stack]
            shown = [*chain[:3], "…", *chain[-2:]] if len(chain) > 5 else chain
            how = "without end" if endless else f"more than {MAX_BUILD_DEPTH if deep else self.most_calls} times"
            detail = f"{name} contains itself {how}{', each inside the last' if deep else ''}: {' → '.join(shown)}."
            self.stop("recursive_definition", detail, place, _END)
        if deep:
            self.stop("model_too_large", f"Definitions are nested deeper than {MAX_BUILD_DEPTH}.", place)

    def _returned(self, body: list[ast.stmt], frame: Frame) -> object:
        try:
            self.run_body(body, frame)
        except Returned as result:
            return result.value
        return None

    def _module(self, definition: Module, names: dict[str, object], place: Place) -> Node:
        self.spend_modules(1, place)
        node = Node(definition.name, place, dict(names))
        node.values.update({name: names[name] for name in definition.constants if name in names})
        self.run_body(definition.constructor.body, Frame(dict(names), node, place))
        node.size = 1 + sum(child.size for child in node.children.values())
        self.probe(definition, node)
        return node

    def probe(self, definition: Module, node: Node) -> None:
        """Walk the forward and the methods of a module that was just made."""
        for function in (definition.forward, *definition.methods):
            if not function.name.startswith("_"):
                self._probe(function, node)

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
            self.stop("model_too_large", f"Too large: {error}.", place, "Make it smaller.")
        except Unusable as error:
            self.stop("invalid_argument", f"This cannot be computed: {error}.", place)


def _is_plain(values: Iterable[object]) -> bool:
    return all(
        isinstance(value, bool | int | float | str | type(None))
        or (isinstance(value, tuple | list) and _is_plain(value))
        for value in values
    )


_END = 'Let a parameter become smaller and stop at its end: {"if": "depth > 0", "then": [{"inner": "Net(depth - 1)"}]}.'


def _short(value: object) -> str:
    text = f"a {value.type}" if isinstance(value, Node) else repr(value)
    return text if len(text) <= 20 else f"{text[:19]}…"


def _holds_node(value: object) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(item, Node) for item in items)
