"""Looks at constructor expressions and statements of a document that was checked, and changes them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


def called(value: object) -> str | None:
    """Return the name that a module position calls: ``Block`` of ``Block(16).requires_grad_(False)``."""
    if isinstance(value, dict):
        kind = value.get("type")
        return kind if isinstance(kind, str) else None
    call = _constructor(_parsed(value))
    return call.func.id if call is not None and isinstance(call.func, ast.Name) else None


def recalled(value: Any, name: str, other: str) -> Any:  # noqa: ANN401 - a module position
    """Return a module position that calls ``other`` where it called ``name``."""
    if isinstance(value, dict):
        return {**value, "type": other}
    tree = _parsed(value)
    call = _constructor(tree)
    if tree is None or call is None or not isinstance(call.func, ast.Name) or call.func.id != name:
        raise ValueError(f"{value!r} does not call {name}")
    call.func.id = other
    return ast.unparse(tree)


def expanded(value: Any, *, empty: bool = False) -> Any:  # noqa: ANN401 - a module position
    """Return ``Sequential(a, b)`` written as an object with ``layers``; anything else as it is."""
    tree = _parsed(value)
    name = tree.func.id if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) else ""
    if not isinstance(tree, ast.Call) or tree.keywords or name not in _CONTAINERS:
        return value
    items = _items(tree, name)
    if items is None or not (items or empty):
        return value
    return {"type": name, "layers": items}


def _items(call: ast.Call, name: str) -> list[Any] | None:
    """Return the layers that a constructor call lists, or ``None`` where it computes them."""
    first = call.args[0] if len(call.args) == 1 else None
    if isinstance(first, ast.Call) and isinstance(first.func, ast.Name) and first.func.id == "OrderedDict":
        first = first.args[0] if len(first.args) == 1 else first
    if isinstance(first, ast.Dict):
        rows = list(zip(first.keys, first.values, strict=True))
        named = all(isinstance(key, ast.Constant) for key, _ in rows)
        return [{str(ast.literal_eval(k)): ast.unparse(v)} for k, v in rows if k is not None] if named else None
    if isinstance(first, ast.List) and all(_is_pair(item) for item in first.elts) and first.elts:
        pairs = [item.elts for item in first.elts if isinstance(item, ast.Tuple | ast.List)]
        return [{str(ast.literal_eval(key)): ast.unparse(item)} for key, item in pairs]
    nodes: list[ast.expr] = list(call.args)
    if name == "ModuleList" and nodes:
        if not isinstance(first, ast.List):
            return None
        nodes = list(first.elts)
    plain = ast.Call | ast.Name | ast.Attribute
    return [ast.unparse(node) for node in nodes] if all(isinstance(node, plain) for node in nodes) else None


def _is_pair(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and len(node.elts) == 2 and isinstance(node.elts[0], ast.Constant)


def unused_locals(init: list[Any], expression: str) -> None:
    """Take away the statements that made what an expression used, where nothing else uses it."""
    waiting = [node.id for node in ast.walk(ast.parse(expression.strip())) if isinstance(node, ast.Name)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        own = [item for item in init if isinstance(item, str) and _serves(item, name)]
        others = [item for item in init if not (isinstance(item, str) and _serves(item, name))]
        if not own or any(name in reads(item) for item in others):
            continue
        init[:] = others
        waiting += {node.id for text in own for node in ast.walk(ast.parse(text.strip())) if isinstance(node, ast.Name)}
        seen.discard(name)


def reads(item: Any) -> set[str]:  # noqa: ANN401 - an item of init
    """Return the names that an item of ``init`` may read."""
    if isinstance(item, str):
        try:
            return {node.id for node in ast.walk(ast.parse(item.strip())) if isinstance(node, ast.Name)}
        except SyntaxError:  # a literal string
            return set()
    if isinstance(item, list):
        return {name for one in item for name in reads(one)}
    if not isinstance(item, dict):
        return set()
    holes = {hole for key in item for hole in re.findall(r"\{([^{}]*)\}", str(key))}
    return {name for one in [*item.values(), *holes] for name in reads(one)}


def collects(texts: Iterable[str], name: str) -> bool:
    """Return whether some statement makes what the local variable ``name`` holds, or puts something into it."""
    return any("(" in text and _serves(text, name) for text in texts)


def _serves(statement: str, name: str) -> bool:
    """Return whether a statement does nothing but give ``name`` a value, or put something into it."""
    try:
        node = ast.parse(statement.strip()).body[0]
    except (SyntaxError, IndexError):  # a literal string
        return False
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == name
    if isinstance(node, ast.AugAssign):
        return ast.unparse(node.target) == name
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == name


def _constructor(tree: ast.expr | None) -> ast.Call | None:
    """Return the innermost call of ``Block(16).requires_grad_(False)``."""
    while isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        tree = tree.func.value
    return tree if isinstance(tree, ast.Call) else None


def _parsed(value: object) -> ast.expr | None:
    """Parse a constructor expression of a document that was checked before."""
    return ast.parse(value.strip(), mode="eval").body if isinstance(value, str) else None


def computed_members(text: str) -> list[str]:
    """Return how the names begin that ``self[…]`` computes in a statement or expression; "" where nobody knows."""
    try:
        tree = ast.parse(text.strip())
    except SyntaxError:  # «x in e», the head of a loop, parses; literal strings need not
        return []
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "self":
            first: ast.expr = node.slice
            while isinstance(first, ast.BinOp):
                first = first.left
            found.append(str(first.value) if isinstance(first, ast.Constant) else "")
    return found
