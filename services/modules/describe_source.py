"""Reads ``forward`` and its helpers from their Python source into statements of the language."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from services.definition.limits import MAX_AT_MOST
from services.modules.describe_layers import Undescribable
from services.modules.describe_syntax import Conversion, public_name


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
        waiting: dict[str, Any] = {"forward": type(module).forward}
        while waiting:
            name, function = waiting.popitem()
            if name in found.functions:
                continue
            reader = Reader(self, module, function, f"{type(module).__name__} {path!r}")
            found.functions[name] = reader.read()
            found.helpers.update(reader.helpers)
            waiting.update(reader.inherited)
            for attribute in sorted(reader.attributes):
                self._attribute(attribute, module, found, waiting)
        return found

    def _attribute(self, name: str, module: nn.Module, found: Methods, waiting: dict[str, Any]) -> None:
        if name in module._modules or name in module._parameters or name in module._buffers or name == "training":
            return
        value = getattr(module, name, None)
        if isinstance(value, types.MethodType):
            waiting[public_name(name, module)] = value.__func__
        elif value is None or isinstance(value, bool | int | float):
            found.constants[public_name(name, module)] = value
        elif _is_plain(value):
            found.constants[public_name(name, module)] = repr(value)
        else:
            raise Undescribable(
                f"self.{name} of {type(module).__name__} is {value!r:.60}: no module, tensor or number."
            )


def _is_no_grad(node: ast.expr, function: Any) -> bool:  # noqa: ANN401 - any function
    """Return whether an expression is ``torch.no_grad()``, by whatever name."""
    call = node.func if isinstance(node, ast.Call) and not node.args and not node.keywords else None
    if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name):
        return getattr(function.__globals__.get(call.value.id), call.attr, None) is torch.no_grad
    return isinstance(call, ast.Name) and function.__globals__.get(call.id) is torch.no_grad


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


class Reader:
    """Converts one function."""

    def __init__(self, source: Source, module: nn.Module | None, function: Any, owner: str) -> None:  # noqa: ANN401
        self.source = source
        self.owner = owner
        self.module = module
        self.function = inspect.unwrap(function)
        self.attributes: set[str] = set()
        self.helpers: dict[str, Any] = {}
        self.inherited: dict[str, Any] = {}
        """Methods of parent classes that ``super()`` reaches, by the names they get."""
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
        quiet = any(_is_no_grad(one, self.function) for one in self.tree.decorator_list)
        return {"arguments": listed, "body": self._quiet(self.tree.body) if quiet else self._body(self.tree.body)}

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
        if isinstance(node, ast.With) and all(_is_no_grad(item.context_expr, self.function) for item in node.items):
            return self._quiet(node.body)
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

    def _quiet(self, body: list[ast.stmt]) -> list[Any]:
        """Return statements as a ``no_grad`` block; a ``return`` at its end stands behind it."""
        last = body[-1]
        if not isinstance(last, ast.Return) or last.value is None:
            return [{"no_grad": self._body(body)}]
        text = self._noted(f"result = {self._text(last.value)}", last)
        return [{"no_grad": [*self._body(body[:-1]), text]}, "return result"]

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
        converted: ast.AST = Conversion(self).visit(node)
        return ast.fix_missing_locations(converted)

    def global_value(self, name: str) -> object:
        """Return what a global or closed-over name of the function means, or ``None``."""
        closure = inspect.getclosurevars(self.function)
        return {**closure.globals, **closure.nonlocals}.get(name)

    def helper(self, node: ast.Name, function: types.FunctionType) -> str:
        """Describe a module-level function that the code calls."""
        name = function.__name__
        if name not in self.helpers:
            reader = Reader(self.source, None, function, name)
            reader.helpers = self.helpers  # one table, so that functions that call each other are read once
            self.helpers[name] = {}
            self.helpers[name] = reader.read()
        return name
