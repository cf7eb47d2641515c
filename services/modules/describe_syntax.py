"""Writes Python's spellings the way the language writes them, expression by expression."""

from __future__ import annotations

import ast
import math
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from services.definition.names import BUILTINS, is_name

if TYPE_CHECKING:
    from services.modules.describe_source import Reader

_ROOTS = {torch: "torch", functional: "F", math: "math", nn: "nn"}
_SEQUENCES = (nn.Sequential, nn.ModuleList)
_VIEWS = {"values", "items", "keys"}


def public_name(name: str, module: nn.Module) -> str:
    """Return what a method or constant is called in the definition, where no name begins with an underscore."""
    bare = name.lstrip("_") or "private"
    return f"{bare}_" if name != bare and hasattr(module, bare) else bare


class Conversion(ast.NodeTransformer):
    """Writes Python's spellings the way the language writes them."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.module = reader.module

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: PLR0911 - one case a line
        """Resolve global names: modules, constants, functions."""
        if node.id == self.reader.self_name:
            return self._self(node)
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
        if not self._is_self(node.value) or self.module is None:
            return self.generic_visit(node)
        if node.attr == "_modules":
            return _listed([ast.Constant(name) for name in self.module._modules])
        own = getattr(nn.Module, node.attr, None)
        if own is not None and getattr(type(self.module), node.attr) is own:
            self.reader.refuse(node, f"self.{node.attr}, which belongs to nn.Module,")
        self.reader.attributes.add(node.attr)
        known = (*self.module._modules, *self.module._parameters, *self.module._buffers)
        name = node.attr if node.attr in known else public_name(node.attr, self.module)
        return ast.Attribute(ast.Name("self", ast.Load()), name, node.ctx)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """``self._modules[name]`` is ``self[name]``; a list of layers is indexed as one."""
        if isinstance(node.value, ast.Attribute) and node.value.attr == "_modules" and self._is_self(node.value.value):
            return ast.Subscript(ast.Name("self", ast.Load()), self.visit(node.slice), node.ctx)
        if self._is_self(node.value) and not isinstance(self.module, _SEQUENCES):
            return ast.Subscript(ast.Name("self", ast.Load()), self.visit(node.slice), node.ctx)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``getattr(self, name)`` is ``self[name]``; ``float("-inf")`` is ``-math.inf``."""
        text = ast.unparse(node)
        if text in {"float('-inf')", "float('inf')"}:
            infinity = ast.Attribute(ast.Name("math"), "inf")
            return ast.UnaryOp(ast.USub(), infinity) if "-" in text else infinity
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) == 2:
            owner = ast.Name("self", ast.Load()) if self._is_self(node.args[0]) else self.visit(node.args[0])
            return ast.Subscript(owner, self.visit(node.args[1]), ast.Load())
        if isinstance(node.func, ast.Attribute):
            special = self._walk(node.func) if not node.args else None
            special = special or self._inherited(node, node.func)
            if special is not None:
                return special
        return self.generic_visit(node)

    def _is_self(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and node.id == self.reader.self_name

    def _self(self, node: ast.Name) -> ast.AST:
        """A list of layers that stands for itself is written out; what else is called self has no value."""
        if isinstance(self.module, _SEQUENCES):
            return _listed([_part(name) for name in self.module._modules])
        if isinstance(self.module, nn.ModuleDict):
            return _listed([ast.Constant(name) for name in self.module._modules])
        return ast.Name("self", node.ctx)

    def _walk(self, function: ast.Attribute) -> ast.expr | None:
        """``self._modules.values()``, ``self.children()`` and their like are the parts, written out."""
        owner, name = function.value, function.attr
        if isinstance(owner, ast.Attribute) and owner.attr == "_modules":
            owner, inside = owner.value, name in _VIEWS
        else:
            inside = name in {"children", "named_children"} or (
                name in _VIEWS and isinstance(self.module, nn.ModuleDict)
            )
        if not inside:
            return None
        if self._is_self(owner) and self.module is not None:
            return _parts(self.module, name)
        child = self._child(owner)
        return self.visit(owner) if isinstance(child, _SEQUENCES) and name in {"values", "children"} else None

    def _child(self, node: ast.expr) -> nn.Module | None:
        if self.module is not None and isinstance(node, ast.Attribute) and self._is_self(node.value):
            return self.module._modules.get(node.attr)
        return None

    def _inherited(self, node: ast.Call, function: ast.Attribute) -> ast.expr | None:
        """``super().forward(x)`` calls a method that is read from the parent class."""
        owner = function.value
        if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"):
            return None
        classes = list(type(self.module).__mro__)
        here = next((i for i, one in enumerate(classes) if self.reader.function in vars(one).values()), -1)
        parent = next((one for one in classes[here + 1 :] if function.attr in vars(one)), None)
        if parent is None:
            return None
        name = f"{parent.__name__}_{function.attr}".strip("_")
        self.reader.inherited[name] = vars(parent)[function.attr]
        arguments = [self.visit(argument) for argument in node.args]
        keywords = [ast.keyword(one.arg, self.visit(one.value)) for one in node.keywords]
        return ast.Call(ast.Attribute(ast.Name("self", ast.Load()), name, ast.Load()), arguments, keywords)

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


def _parts(module: nn.Module, view: str) -> ast.expr:
    """Return the children of a module as a list: parts, names, or pairs of both."""
    rows = list(module._modules.items())
    if view in {"children", "named_children"}:  # torch names each module once, and none that is None
        first = {id(child): name for name, child in reversed(rows) if child is not None}
        rows = [(name, child) for name, child in rows if child is not None and first[id(child)] == name]
    names = [name for name, _ in rows]
    if view == "keys":
        return _listed([ast.Constant(name) for name in names])
    if view in {"values", "children"}:
        return _listed([_part(name) for name in names])
    return _listed([ast.Tuple([ast.Constant(name), _part(name)], ast.Load()) for name in names])


def _part(name: str) -> ast.expr:
    own = ast.Name("self", ast.Load())
    return ast.Attribute(own, name, ast.Load()) if is_name(name) else ast.Subscript(own, ast.Constant(name), ast.Load())


def _listed(items: Sequence[ast.expr]) -> ast.expr:
    return ast.List(list(items), ast.Load())
