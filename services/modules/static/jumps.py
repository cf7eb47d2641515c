"""Jumps out of the middle of a body as plain conditions: early ``return``, ``break``, ``continue``, bounded loops."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from services.definition.problems import mark
from services.modules.static.names import has
from services.modules.static.syntax import assign, call, place, thunk

JUMPS = (ast.Break, ast.Continue)


def returning(statement: ast.If, rest: Sequence[ast.stmt]) -> tuple[list[ast.stmt], list[ast.stmt]] | None:
    """Return the two ways to the function's end, or None where a part of the way would have to be there twice."""
    then, other = list(statement.body), list(statement.orelse)
    if _ends(then):
        other = [*other, *([] if _ends(other) else rest)]
    elif _ends(other):
        then = [*then, *rest]
    else:
        return None
    return tuple([*one, *([] if _ends(one) else [ast.Return(ast.Constant(None))])] for one in (then, other))  # type: ignore[return-value]


def _ends(statements: Sequence[ast.stmt]) -> bool:
    if not statements:
        return False
    last = statements[-1]
    if isinstance(last, ast.If):
        return _ends(last.body) and _ends(last.orelse)
    return isinstance(last, ast.Return | ast.Raise)


def as_while(loop: ast.For) -> tuple[ast.expr, list[ast.stmt], int] | None:
    """Recognise what ``services.definition.statements`` makes of a while block: condition, body and bound."""
    if not loop.orelse or not loop.body:
        return None
    first, count = loop.body[0], [one.value for one in ast.walk(loop.iter) if isinstance(one, ast.Constant)]
    if not (isinstance(first, ast.If) and isinstance(first.test, ast.UnaryOp) and len(count) == 1):
        return None
    return first.test.operand, list(loop.body[1:]), int(str(count[0]))


def straight(statements: Sequence[ast.stmt], flag: str) -> list[ast.stmt]:
    """Return the statements with what follows a jump in the other branch, and ``flag`` cleared by each break."""
    made: list[ast.stmt] = []
    for index, statement in enumerate(statements):
        if isinstance(statement, ast.Break):
            return [*made, assign([flag], ast.Constant(False), single=True)]
        if isinstance(statement, ast.Continue):
            return made
        if isinstance(statement, ast.If) and has(JUMPS, [statement], loops=False):
            rest = statements[index + 1 :]
            ways = [straight([*one, *copy.deepcopy(rest)], flag) for one in (statement.body, statement.orelse)]
            return [*made, mark(ast.If(statement.test, ways[0] or [ast.Pass()], ways[1]), place(statement))]
        made.append(statement)
    return made


class Logic(ast.NodeTransformer):
    """``and``, ``or`` and ``not`` of a condition ask Python for truth; these ask tensors for tensors."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """Ask the right side only where Python would, or where the left one is a tensor."""
        *before, last = [self.visit(one) for one in node.values]
        name = "_both" if isinstance(node.op, ast.And) else "_either"
        for one in reversed(before):
            last = call(name, one, thunk(last))
        return last  # type: ignore[no-any-return]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        """Negate."""
        return call("_not", self.visit(node.operand)) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        """Write ``a < b < c`` as two comparisons."""
        if len(node.ops) == 1:
            return node
        sides = [node.left, *node.comparators]
        pairs = [ast.Compare(sides[i], [op], [sides[i + 1]]) for i, op in enumerate(node.ops)]
        return self.visit_BoolOp(ast.BoolOp(ast.And(), list(pairs)))
