"""What may stand in an emitted tree: an independent list, so that a hole in the checker shows."""

# ruff: noqa: E501 - statements of the language are one string each

from __future__ import annotations

import ast
import re

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_OWN_NAMES = {
    "_", "_budget", "_renew_budget", "_initialise", "_left", "_descend", "_spend", "_turns", "_items", "_grown", "_power", "_repeated",
    "_times", "_multiplied", "_added", "_raised", "_product", "_numbers", "_deep", "_local",
}  # fmt: skip
_OWN_ATTRIBUTES = {"__init__", "_modules", "_parameters", "_buffers", "_initialise"}
_EVIL = {
    "eval", "exec", "compile", "open", "globals", "locals", "vars", "dir", "delattr", "input", "breakpoint", "memoryview",
    "type", "object", "print", "load", "save", "ops", "hub", "jit", "system", "format", "format_map", "register_hook",
    "register_forward_hook", "apply_", "map_", "storage", "untyped_storage", "numpy", "tofile", "data_ptr", "set_",
}  # fmt: skip
_PLAIN_CHILDREN = {
    "eval",
    "exec",
    "open",
    "globals",
    "locals",
    "vars",
    "dir",
    "delattr",
    "input",
    "breakpoint",
    "memoryview",
    "object",
    "print",
}
"""Builtins of Python are not attributes of a module: a child may be called so."""
_NODES = (
    ast.Module, ast.FunctionDef, ast.ClassDef, ast.arguments, ast.arg, ast.Import, ast.ImportFrom, ast.alias, ast.Expr,
    ast.Return, ast.Assign, ast.AugAssign, ast.For, ast.If, ast.Raise, ast.Assert, ast.Break, ast.Continue, ast.Pass,
    ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare,
    ast.IfExp, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Dict, ast.ListComp, ast.GeneratorExp, ast.DictComp,
    ast.comprehension, ast.Starred, ast.JoinedStr, ast.FormattedValue, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.expr_context, ast.With, ast.withitem,
)  # fmt: skip


def assert_harmless(tree: ast.Module) -> None:
    """Fail on any node, name, attribute or import that an emitted tree must not hold."""
    for node in ast.walk(tree):
        assert isinstance(node, _NODES), node
        if isinstance(node, ast.Name):
            assert node.id in _OWN_NAMES or (_NAME.match(node.id) and "__" not in node.id), node.id
            assert node.id not in _EVIL, node.id
        elif isinstance(node, ast.Attribute):
            assert node.attr in _OWN_ATTRIBUTES or _NAME.match(node.attr), node.attr
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            assert node.attr not in _EVIL or (of_self and node.attr in _PLAIN_CHILDREN), node.attr
        elif isinstance(node, ast.withitem):
            assert ast.unparse(node) == "torch.no_grad()"
        elif isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= {"math", "torch", "torch.nn.functional"}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module, node.names[0].name) in {("torch", "nn"), ("collections", "OrderedDict")}
