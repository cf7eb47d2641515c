"""Decides what a call may call, and what an attribute may be."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod

from services.definition.arguments import as_entry as _as_entry
from services.definition.arguments import check_arguments
from services.definition.catalog import CATALOG, Entry
from services.definition.names import BUILTINS, ROOTS
from services.definition.parsing import Text
from services.definition.problems import Place, mark, nearest_hint
from services.definition.scope import Library, Scope

_SPACES = {
    "torch": "torch", "F": "F", "math": "math", "init": "init", "nn": "nn", "torch.nn": "nn", "nn.init": "init",
    "torch.nn.init": "init", "nn.functional": "F", "torch.nn.functional": "F", "torch.linalg": "torch.linalg",
    "torch.fft": "torch.fft", "torch.special": "torch.special", "torch.nn.utils.rnn": "nn.utils.rnn",
    "torch.nn.Transformer": "nn.Transformer",
}  # fmt: skip
_METHODS = frozenset(CATALOG.list_methods | CATALOG.dict_methods)
_CHANGES = frozenset({"append", "extend", "insert", "update", "pop", "reverse", "requires_grad_"})
"""Methods that change a container or a list: a forward has them for its own values only."""
_CONSTRUCTORS = frozenset({"Parameter", "OrderedDict"})


class Calls(ABC):
    """The part of the expression checker that knows callees and attributes."""

    def __init__(self, library: Library, scope: Scope, text: Text) -> None:
        self.library = library
        self.scope = scope
        self.text = text
        self._target: str | None = None
        """The function or method that the call at hand calls."""

    @abstractmethod
    def rebuild(self, node: ast.expr) -> ast.expr:
        """Return the checked copy of a node."""

    def element(self, node: ast.expr) -> ast.expr:
        """Return the checked copy of an argument or item, which may be a splat."""
        if isinstance(node, ast.Starred):
            return mark(ast.Starred(self.rebuild(node.value), ast.Load()), self.text.place_at(node))
        return self.rebuild(node)

    def note(self, code: str, node: ast.AST, detail: str, hint: str | None = None) -> None:
        """Note a problem at a node."""
        self.library.problems.add(code, detail, self.text.place_at(node), hint)

    def problem(self, node: ast.AST, detail: str, hint: str | None = None) -> None:
        """Note that the expression itself is wrong at a node."""
        self.note("invalid_expression", node, detail, hint)

    def dotted(self, node: ast.expr) -> tuple[str, str] | None:
        """Return (namespace, name) of ``torch.nn.functional.relu`` and its like; ``None`` for other attributes."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self.scope.locals or node.id not in ROOTS:
            return None
        *space, name = [node.id, *reversed(names)]
        return _SPACES.get(".".join(space), ".".join(space)), name

    def attribute_allowed(self, node: ast.Attribute, *, called: bool = False) -> bool:
        """Check one attribute name against the catalog and the names of the document."""
        name = node.attr
        if name.startswith("_") or "__" in name:
            self.problem(node, f"The attribute {name[:80]!r} is not allowed.")
            return False
        known = self.library.members | CATALOG.layer_attributes | CATALOG.attributes | {"training"}
        if called:
            known = known | CATALOG.methods.keys() | _METHODS
        if name in known or any(pattern.fullmatch(name) for pattern in self.library.member_patterns):
            return True
        if name in CATALOG.methods or name in _METHODS:
            self.problem(node, f"The method {name!r} cannot be used as a value.", f"Call it: .{name}(…).")
        elif isinstance(node.value, ast.Name) and node.value.id == "self":
            self._unknown_member(node)
        elif called:
            self.note("unknown_function", node, f"There is no method {name[:80]!r}.", nearest_hint(name, known))
        else:
            self.problem(node, f"There is no attribute {name[:80]!r}.", nearest_hint(name, known))
        return False

    def own(self, node: ast.Attribute) -> ast.expr:
        """Rebuild ``self.name``."""
        members, name = self.scope.members, node.attr
        result = ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load())
        if members is None:
            self.problem(node, "There is no self here.", "Give what you need as an argument.")
        elif name == "training":
            return result
        elif name not in members.names() and not members.matches(name):
            self._unknown_member(node)
        elif name in members.constants and not self._is_part(name):
            members.read_constants.add(name)
        return result

    def _is_part(self, name: str) -> bool:
        members = self.scope.members
        return members is not None and name in (
            members.children | members.parameters | members.buffers | members.values | set(members.methods)
        )

    def _unknown_member(self, node: ast.Attribute) -> None:
        known = self.scope.members.names() if self.scope.members else set()
        detail = f"This module has no part {node.attr[:80]!r}."
        self.note("unknown_name", node, detail, nearest_hint(node.attr, known))

    def _call(self, node: ast.Call) -> ast.expr:
        function = self._callee(node)
        target, self._target = self._target, None
        arguments = [self.element(argument) for argument in node.args]
        keywords = [self._keyword(node, keyword) for keyword in node.keywords]
        call = ast.Call(function or ast.Name("_", ast.Load()), arguments, keywords)
        if target is not None:
            self.library.invocations.append((self.scope.function, target, call))
        return call

    def _keyword(self, call: ast.Call, keyword: ast.keyword) -> ast.keyword:
        value = self.rebuild(keyword.value)
        if keyword.arg is None:
            heading = self.library.headings.get(call.func.id) if isinstance(call.func, ast.Name) else None
            if heading is None:
                self.problem(keyword.value, "** works for your own definitions only.", "Name the arguments.")
            elif heading.recursive:
                self.problem(keyword.value, "A function that calls itself takes no **.", "Name the arguments.")
        elif keyword.arg in {"device", "dtype"} and not _is_tensor_property(value, keyword.arg):
            fix = f"Write {keyword.arg}=x.{keyword.arg}" + ("." if keyword.arg == "device" else " or torch.int64.")
            self.problem(keyword.value, f"The run decides the {keyword.arg}; take it from a tensor.", fix)
        return ast.keyword(keyword.arg, value)

    def _callee(self, node: ast.Call) -> ast.expr | None:
        function = node.func
        if isinstance(function, ast.Name):
            return self._named(node, function)
        if isinstance(function, ast.Attribute):
            path = self.dotted(function)
            if path is not None:
                return self._global(node, *path)
            return self._method(node, function)
        if isinstance(function, ast.Subscript):
            return self.rebuild(function)
        self.problem(function, "This cannot be called.")
        return None

    def _named(self, node: ast.Call, function: ast.Name) -> ast.expr | None:
        name = function.id
        if name in self.scope.locals or (name in BUILTINS and name not in self.library.headings):
            return ast.Name(name, ast.Load())
        if name in self.library.headings:
            return self._definition(node, name)
        if name in CATALOG.classes or name in _CONSTRUCTORS:
            return self._layer(node, name)
        for space in ("torch", "init"):
            if name in CATALOG.functions[space]:
                return self._global(node, space, name)
        if "__" in name or name.startswith("_"):
            self.problem(function, f"The name {name[:80]!r} is not allowed.")
        elif name[:1].isupper():
            known = [*CATALOG.classes, *self.library.headings]
            self.note("unknown_type", function, f"There is no layer or definition {name[:80]!r}.",
                      nearest_hint(name, known))  # fmt: skip
        else:
            known = [*self.library.headings, *CATALOG.functions["torch"], *CATALOG.functions["F"], *BUILTINS]
            self.note("unknown_function", function, f"There is no function {name[:80]!r}.", nearest_hint(name, known))
        return None

    def _definition(self, node: ast.Call, name: str) -> ast.expr | None:
        heading = self.library.headings[name]
        self.library.calls.setdefault(self.scope.owner, set()).add(name)
        if heading.kind != "function" and not self.scope.builds:
            self.problem(node, f"{name} makes modules; a forward only uses them.", "Make it a child in init.")
            return None
        self._check(node, name, [_as_entry(name, heading.arguments)])
        self._target = name if heading.kind == "function" else None
        return ast.Name(name, ast.Load())

    def _layer(self, node: ast.Call, name: str) -> ast.expr | None:
        if not self.scope.builds and name != "OrderedDict":
            fix = "Make it a child in init, or use the function of torch.nn.functional (F)."
            self.problem(node, f"{name} makes a module; a forward only uses them.", fix)
            return None
        if name == "OrderedDict":
            return ast.Name(name, ast.Load())
        if name != "Parameter":
            self._check(node, name, [CATALOG.classes[name]])
        return ast.Attribute(ast.Name("nn", ast.Load()), name, ast.Load())

    def _global(self, node: ast.Call, space: str, name: str) -> ast.expr | None:
        if space == "nn" and (name in CATALOG.classes or name == "Parameter"):
            return self._layer(node, name)
        entry = CATALOG.functions.get(space, {}).get(name)
        if entry is None:
            self._unknown_function(node, space, name)
            return None
        if space == "init" and not self.scope.builds:
            self.problem(node, f"{name} belongs to init.")
        self._check(node, name, [entry])
        owner = ast.parse({"init": "nn.init"}.get(space, space), mode="eval").body
        return ast.Attribute(owner, name, ast.Load())

    def _unknown_function(self, node: ast.Call, space: str, name: str) -> None:
        code, known = ("unknown_type", list(CATALOG.classes)) if space == "nn" else ("unknown_function", [])
        known = known or list(CATALOG.functions.get(space, CATALOG.functions["torch"]))
        self.note(code, node.func, f"There is no {space}.{name[:80]} in the catalog.", nearest_hint(name, known))

    def _method(self, node: ast.Call, function: ast.Attribute) -> ast.expr | None:
        root = function.value
        if isinstance(root, ast.Constant | ast.JoinedStr):
            self.problem(function, "A literal has no methods here.")
            return None
        if isinstance(root, ast.Name) and root.id not in self.scope.locals and root.id != "self":
            self._foreign(function, root)
            return None
        if not self.attribute_allowed(function, called=True):
            return None
        if isinstance(root, ast.Name) and root.id == "self":
            members = self.scope.members
            if members and function.attr in members.methods:
                self._check(node, function.attr, [_as_entry(function.attr, members.methods[function.attr])])
                self._target = f"{self.scope.owner}.{function.attr}"
            return self.own(function)
        if not self.scope.builds and function.attr in _CHANGES and _is_part(root):
            self.problem(function, f"{function.attr} would change the model in a forward.", "Do it in init.")
        if function.attr in CATALOG.methods and function.attr not in self.library.members | _METHODS:
            self._check(node, function.attr, [CATALOG.methods[function.attr]])
        if function.attr == "to" and any(isinstance(item, ast.Constant) for item in node.args):
            self.problem(node, "The run decides the device.", "Use x.to(other) or x.to(torch.float32).")
        return ast.Attribute(self.rebuild(root), function.attr, ast.Load())

    def _foreign(self, function: ast.Attribute, root: ast.Name) -> None:
        name = f"{root.id}.{function.attr}"[:80]
        if "__" in name or name.startswith("_"):
            self.problem(function, f"The name {name!r} is not allowed.")
        else:
            known = [*self.scope.locals, *ROOTS, "self"]
            self.note("unknown_function", function, f"There is no function {name!r}.", nearest_hint(root.id, known))

    def _check(self, node: ast.Call, name: str, entries: list[Entry]) -> None:
        check_arguments(node, name, entries, self.text, self.library.problems)

    def place(self, node: ast.AST) -> Place:
        """Return where a node stands in the document."""
        return self.text.place_at(node)


def _is_part(node: ast.expr) -> bool:
    """Return whether an expression is a part of ``self``, or an item or part of one."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "self"


def _is_tensor_property(value: ast.expr, name: str) -> bool:
    if isinstance(value, ast.Constant):
        return value.value is None
    if not isinstance(value, ast.Attribute):
        return isinstance(value, ast.Name | ast.IfExp)
    of_torch = isinstance(value.value, ast.Name) and value.value.id == "torch"
    return value.attr == name or (of_torch and name == "dtype")
