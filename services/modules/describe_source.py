"""Reads ``forward`` and its helpers from their Python source into statements of the language."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
import types
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from services.definition.limits import MAX_AT_MOST
from services.definition.names import BUILTINS
from services.modules.describe_layers import Undescribable

_ROOTS = {torch: "torch", functional: "F", math: "math", nn: "nn"}


@dataclass(slots=True)
class Methods:
    """What the code of one module needs."""

    functions: dict[str, Any] = field(default_factory=dict)
    """forward and the methods it calls, as ``{"arguments", "body"}``."""
    constants: dict[str, Any] = field(default_factory=dict)
    """Plain attributes that the code reads; strings and sequences as expressions."""
    helpers: dict[str, Any] = field(default_factory=dict)
    """Module-level functions that it calls, as definitions."""


class Source:
    """Remembers which line of which file each statement comes from."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}

    def methods(self, module: nn.Module, path: str) -> Methods:
        """Return the code of a module from its ``forward`` on."""
        found = Methods()
        waiting = ["forward"]
        while waiting:
            name = waiting.pop()
            if name in found.functions:
                continue
            function = getattr(type(module), name)
            reader = _Reader(self, module, function, f"{type(module).__name__} {path!r}")
            found.functions[name] = reader.read()
            found.helpers.update(reader.helpers)
            for attribute in sorted(reader.attributes):
                self._attribute(attribute, module, found, waiting)
        return found

    def _attribute(self, name: str, module: nn.Module, found: Methods, waiting: list[str]) -> None:
        if name in module._modules or name in module._parameters or name in module._buffers or name == "training":
            return
        value = getattr(module, name, None)
        if isinstance(value, types.MethodType):
            waiting.append(name)
        elif value is None or isinstance(value, bool | int | float):
            found.constants[name] = value
        elif _is_plain(value):
            found.constants[name] = repr(value)
        else:
            raise Undescribable(
                f"self.{name} of {type(module).__name__} is {value!r:.60}: no module, tensor or number."
            )


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


class _Reader:
    """Converts one function."""

    def __init__(self, source: Source, module: nn.Module | None, function: Any, owner: str) -> None:  # noqa: ANN401
        self.source = source
        self.owner = owner
        self.function = inspect.unwrap(function)
        self.attributes: set[str] = set()
        self.helpers: dict[str, Any] = {}
        try:
            lines, first = inspect.getsourcelines(self.function)
        except (OSError, TypeError):
            raise Undescribable(f"The source of {owner} cannot be read; save its class in a file.") from None
        tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
        if not isinstance(tree, ast.FunctionDef):
            raise Undescribable(f"{owner}: {self.function.__name__} is not an ordinary function.")
        self.tree = tree
        self.self_name = tree.args.args[0].arg if module is not None and tree.args.args else None
        self._first = first
        self._file = inspect.getsourcefile(self.function) or "?"

    def read(self) -> dict[str, Any]:
        """Return ``{"arguments", "body"}``."""
        arguments = self.tree.args
        if arguments.vararg or arguments.kwarg or arguments.kwonlyargs:
            self.refuse(self.tree, "*args, ** and keyword-only arguments")
        names = arguments.args[1:] if self.self_name else arguments.args
        missing = len(names) - len(arguments.defaults)
        listed: list[Any] = [argument.arg for argument in names[: max(missing, 0)]]
        defaults = arguments.defaults[max(-missing, 0) :]
        for argument, default in zip(names[max(missing, 0) :], defaults, strict=True):
            if not isinstance(default, ast.Constant | ast.UnaryOp | ast.Tuple):
                self.refuse(default, "a default that is no literal")
            listed.append({"name": argument.arg, "default": ast.literal_eval(default)})
        return {"arguments": listed, "body": self._body(self.tree.body)}

    def refuse(self, node: ast.AST, what: str) -> None:
        """Raise a refusal that names file and line."""
        raise Undescribable(f"{self._where(node)}: {what} cannot be described ({self.owner}).")

    def _where(self, node: ast.AST) -> str:
        return f"{self._file}:{self._first + getattr(node, 'lineno', 1) - 1}"

    def _body(self, statements: list[ast.stmt]) -> list[Any]:
        return [item for statement in statements for item in self._statement(statement)]

    def _statement(self, node: ast.stmt) -> list[Any]:  # noqa: PLR0911 - one kind a line
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return []  # a docstring
        if isinstance(node, ast.If):
            return [self._if(node)]
        if isinstance(node, ast.For) and not node.orelse:
            head = self._noted(f"{ast.unparse(node.target)} in {self._text(node.iter)}", node)
            return [{"for": head, "do": self._body(node.body)}]
        if isinstance(node, ast.While) and not node.orelse:
            return [{"while": self._text(node.test), "at_most": MAX_AT_MOST, "do": self._body(node.body)}]
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            return [self._noted(f"{ast.unparse(node.target)} = {self._text(node.value)}", node)]
        if isinstance(node, ast.Assign) and len(node.targets) > 1:
            first = ast.unparse(node.targets[0])
            rest = [f"{ast.unparse(target)} = {first}" for target in node.targets[1:]]
            return [self._noted(f"{first} = {self._text(node.value)}", node), *rest]
        simple = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.Assert, ast.Break, ast.Continue, ast.Pass)
        if not isinstance(node, simple):
            self.refuse(node, f"a {type(node).__name__.lower()} statement")
        return [self._noted(ast.unparse(self._converted(node)), node)]

    def _if(self, node: ast.If) -> Any:  # noqa: ANN401 - a statement
        if len(node.body) == 1 and isinstance(node.body[0], ast.Raise) and not node.orelse:
            return self._noted(f"assert not ({self._text(node.test)})", node)
        item: dict[str, Any] = {"if": self._text(node.test), "then": self._body(node.body)}
        if node.orelse:
            item["else"] = self._body(node.orelse)
        return item

    def _text(self, node: ast.expr) -> str:
        return self._noted(ast.unparse(self._converted(node)), node)

    def _noted(self, text: str, node: ast.AST) -> str:
        self.source.lines[text] = self._where(node)
        return text

    def _converted(self, node: ast.AST) -> ast.AST:
        converted: ast.AST = _Conversion(self).visit(node)
        return ast.fix_missing_locations(converted)

    def global_value(self, name: str) -> object:
        """Return what a global or closed-over name of the function means, or ``None``."""
        closure = inspect.getclosurevars(self.function)
        return {**closure.globals, **closure.nonlocals}.get(name)

    def helper(self, node: ast.Name, function: types.FunctionType) -> str:
        """Describe a module-level function that the code calls."""
        name = function.__name__
        if name not in self.helpers:
            reader = _Reader(self.source, None, function, name)
            reader.helpers = self.helpers  # one table, so that functions that call each other are read once
            self.helpers[name] = {}
            self.helpers[name] = reader.read()
        return name


class _Conversion(ast.NodeTransformer):
    """Writes Python's spellings the way the language writes them."""

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: PLR0911 - one case a line
        """Resolve global names: modules, constants, functions."""
        if node.id == self.reader.self_name:
            return ast.Name("self", node.ctx)
        if isinstance(node.ctx, ast.Store) or node.id in BUILTINS:
            return node
        value = self.reader.global_value(node.id)
        if isinstance(value, types.ModuleType) and value in _ROOTS:
            return ast.Name(_ROOTS[value], node.ctx)
        if isinstance(value, bool | int | float | str):
            return ast.Constant(value)
        for space in (torch, functional, math):
            name = str(getattr(value, "__name__", ""))
            if callable(value) and getattr(space, name, None) is value:
                return ast.Attribute(ast.Name(_ROOTS[space]), name, node.ctx)
        if isinstance(value, types.FunctionType):
            return ast.Name(self.reader.helper(node, value), node.ctx)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Note which attributes of self are read."""
        if isinstance(node.value, ast.Name) and node.value.id == self.reader.self_name:
            self.reader.attributes.add(node.attr)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``getattr(self, name)`` is ``self[name]``; ``float("-inf")`` is ``-math.inf``."""
        text = ast.unparse(node)
        if text in {"float('-inf')", "float('inf')"}:
            infinity = ast.Attribute(ast.Name("math"), "inf")
            return ast.UnaryOp(ast.USub(), infinity) if "-" in text else infinity
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) == 2:
            return ast.Subscript(self.visit(node.args[0]), self.visit(node.args[1]), ast.Load())
        return self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """``f"stage{i}"`` is ``'stage' + str(i)``."""
        parts: list[ast.expr] = []
        for value in node.values:
            inner = value.value if isinstance(value, ast.FormattedValue) else value
            text = ast.Call(ast.Name("str"), [self.visit(inner)], [])
            parts.append(text if isinstance(value, ast.FormattedValue) else value)
        result = parts[0] if parts else ast.Constant("")
        for part in parts[1:]:
            result = ast.BinOp(result, ast.Add(), part)
        return result
