"""Pieces of Python trees that the static variant is made of."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from services.definition.problems import Place, mark, place_of


def out_of_place(statement: ast.stmt) -> ast.stmt:
    """Inside a branch or a loop nothing may be written in place: ``x += e`` becomes ``x = x + e``."""
    if not (isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name)):
        return statement
    value = ast.BinOp(name_of(statement.target.id), statement.op, statement.value)
    return mark(assign([statement.target.id], value, single=True), place(statement))


def place(node: ast.AST) -> Place:
    """Return where a node comes from."""
    return place_of(node) or Place("")


def flag(number: int) -> str:
    """Return the name that says whether loop ``number`` still goes on."""
    return f"_on_{number}"


def name_of(name: str) -> ast.expr:
    """Return the reading of a name."""
    return ast.Name(name, ast.Load())


def tuple_of(names: Sequence[str]) -> ast.expr:
    """Return a tuple of names."""
    return ast.Tuple([name_of(name) for name in names], ast.Load())


def call(name: str, *arguments: ast.expr | int) -> ast.expr:
    """Return a call of a function by its name."""
    return ast.Call(name_of(name), [ast.Constant(one) if isinstance(one, int) else one for one in arguments], [])


def thunk(value: ast.expr) -> ast.expr:
    """Return a function without arguments that computes ``value`` when it is called."""
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), value)


def assign(names: Sequence[str], value: ast.expr, *, single: bool = False) -> ast.stmt:
    """Return an assignment of a tuple to names; of one value with ``single``; a plain call where there is no name."""
    if not names:
        return ast.Expr(value)
    targets = [ast.Name(name, ast.Store()) for name in names]
    return ast.Assign([targets[0] if single else ast.Tuple(list(targets), ast.Store())], value)


def function_of(name: str, arguments: Sequence[str], body: list[ast.stmt]) -> ast.FunctionDef:
    """Return a nested function."""
    parameters = ast.arguments([], [ast.arg(one) for one in arguments], None, [], [], None, [])
    return ast.FunctionDef(name, parameters, body or [ast.Pass()], [], None)
