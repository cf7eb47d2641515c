"""Which names a piece of a body reads and binds: what a branch or a loop must hand on when it becomes an operation."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence


def bound(statements: Iterable[ast.stmt]) -> list[str]:
    """Return the local names that the statements may bind, in order of appearance; nested functions keep theirs."""
    found: dict[str, None] = {}
    for statement in statements:
        for node in _own(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[node.id] = None
            elif isinstance(node, ast.FunctionDef):
                found[node.name] = None
    return list(found)


def needed(statements: Sequence[ast.stmt], after: set[str]) -> set[str]:
    """Return the names that must have a value before the statements, when ``after`` are needed behind them."""
    live = set(after)
    for statement in reversed(statements):
        live = _before(statement, live)
    return live


def read(node: ast.AST) -> set[str]:
    """Return every name that is read anywhere inside a node."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def has(kinds: tuple[type[ast.stmt], ...], statements: Iterable[ast.stmt], *, loops: bool = True) -> bool:
    """Tell whether the statements hold one of ``kinds``; ``loops=False`` does not look into loops."""
    for statement in statements:
        if isinstance(statement, kinds):
            return True
        if isinstance(statement, ast.If) and has(kinds, [*statement.body, *statement.orelse], loops=loops):
            return True
        if loops and isinstance(statement, ast.For) and has(kinds, [*statement.body, *statement.orelse]):
            return True
    return False


def writes_elsewhere(statements: Iterable[ast.stmt]) -> ast.AST | None:
    """Return an assignment to something else than a local name: a buffer, or an item of a tensor or list."""
    for statement in statements:
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
                return node
    return None


def _before(statement: ast.stmt, live: set[str]) -> set[str]:
    if isinstance(statement, ast.Assign):
        names = {name for target in statement.targets for name in _plain_targets(target)}
        inner = {name for target in statement.targets for name in read(target)}
        return (live - names) | inner | read(statement.value)
    if isinstance(statement, ast.AugAssign):
        return live | read(statement.value) | {n.id for n in ast.walk(statement.target) if isinstance(n, ast.Name)}
    if isinstance(statement, ast.If):
        return needed(statement.body, live) | needed(statement.orelse, live) | read(statement.test)
    if isinstance(statement, ast.For):
        once = needed(statement.body, live)
        again = needed(statement.body, live | once)
        return live | again | needed(statement.orelse, live) | read(statement.iter)
    if isinstance(statement, ast.Return):
        return read(statement)
    return live | read(statement)


def _plain_targets(target: ast.expr) -> set[str]:
    items = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return {item.id for item in items if isinstance(item, ast.Name)}


def _own(node: ast.AST) -> Iterable[ast.AST]:
    """Walk a node without the insides of functions and comprehensions, which have scopes of their own."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.GeneratorExp | ast.DictComp | ast.SetComp):
        return
    for child in ast.iter_child_nodes(node):
        yield from _own(child)
