"""What an expression of ``init`` is worth where its text and plain values say so; nothing is made that is not small."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from services.definition import arithmetic
from services.definition.arithmetic import TooLarge, Unusable
from services.definition.program import Function
from services.definition.tree import UNKNOWN, Opaque

Names = Mapping[str, object]
"""Plain values of names: numbers, strings, booleans, None, tuples of them. A list may change; it is never known."""
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)
_MAX_ITEMS = 64
"""Items of a sequence that are listed."""
_SAME_LENGTH = frozenset({"enumerate", "list", "tuple", "reversed", "sorted"})
_PLAIN = bool | int | float | str | None


def value_of(node: ast.expr | None, names: Names) -> object:
    """Return the value of an expression, or ``UNKNOWN``."""
    value: object = UNKNOWN
    if isinstance(node, ast.Constant):
        value = node.value if isinstance(node.value, _PLAIN) else UNKNOWN
    elif isinstance(node, ast.Name):
        value = names.get(node.id, UNKNOWN)
    elif isinstance(node, ast.Tuple | ast.List):
        value = _items(node.elts, names)
    elif isinstance(node, ast.UnaryOp):
        value = _applied(node.op, value_of(node.operand, names), None)
    elif isinstance(node, ast.BinOp):
        value = _applied(node.op, value_of(node.left, names), value_of(node.right, names))
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], _COMPARISONS):
        value = _applied(node.ops[0], value_of(node.left, names), value_of(node.comparators[0], names))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len" and node.args:
        length = length_of(node.args[0], names)
        value = UNKNOWN if length is None else length
    return value


def _items(nodes: Sequence[ast.expr], names: Names) -> object:
    values = tuple(value_of(node, names) for node in nodes[:_MAX_ITEMS])
    return UNKNOWN if len(nodes) > _MAX_ITEMS or any(isinstance(one, Opaque) for one in values) else values


def _applied(operation: ast.AST, left: object, right: object) -> object:
    numbers = all(isinstance(one, _PLAIN) for one in (left, right)) and not isinstance(left, str)
    if not numbers:
        return UNKNOWN
    try:
        return arithmetic.apply(operation, left, right)
    except (TooLarge, Unusable):
        return UNKNOWN


def length_of(node: ast.expr, names: Names) -> int | None:
    """Return how many items an expression has, or ``None``."""
    if isinstance(node, ast.List | ast.Tuple):
        return None if any(isinstance(item, ast.Starred) for item in node.elts) else len(node.elts)
    call = node if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
    if call is None or not isinstance(call.func, ast.Name) or not call.args:
        value = value_of(node, names)
        return len(value) if isinstance(value, tuple | str) else None
    if call.func.id == "range":
        return _range_length([value_of(argument, names) for argument in call.args])
    if call.func.id == "zip":
        lengths = [length_of(argument, names) for argument in call.args]
        return None if None in lengths else min(length for length in lengths if length is not None)
    return length_of(call.args[0], names) if call.func.id in _SAME_LENGTH else None


def _range_length(bounds: list[object]) -> int | None:
    numbers = [one for one in bounds if isinstance(one, int)]
    if len(numbers) < len(bounds) or len(bounds) > 3:
        return None
    try:
        return len(range(*numbers))
    except (ValueError, OverflowError):  # a step of 0; a range that is refused elsewhere
        return None


def items_of(node: ast.expr, names: Names) -> Sequence[object] | None:
    """Return the values that a loop runs over, ``UNKNOWN`` for those nobody knows; ``None`` where there are many."""
    length = length_of(node, names)
    if length is None or length > _MAX_ITEMS:
        return None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id == "range":
            return range(*[value for one in node.args if isinstance(value := value_of(one, names), int)])
        if node.func.id == "enumerate" and len(node.args) == 1:
            return list(enumerate(items_of(node.args[0], names) or [UNKNOWN] * length))
        return [UNKNOWN] * length
    if isinstance(node, ast.List | ast.Tuple):
        return [value_of(item, names) for item in node.elts]
    value = value_of(node, names)
    return value if isinstance(value, tuple | str) else [UNKNOWN] * length


def without(names: Names, target: ast.expr, value: object = UNKNOWN) -> dict[str, object]:
    """Return names after ``target = value``; those whose value is not known are left out."""
    found = dict(names)
    parts: list[tuple[ast.expr, object]] = [(target, value)]
    while parts:
        one, known = parts.pop()
        if isinstance(one, ast.Tuple):
            fits = isinstance(known, tuple) and len(known) == len(one.elts)
            parts += zip(
                one.elts, known if isinstance(known, tuple) and fits else [UNKNOWN] * len(one.elts), strict=True
            )
        elif isinstance(one, ast.Starred):
            parts.append((one.value, UNKNOWN))
        elif isinstance(one, ast.Name):
            found.pop(one.id, None)
            if isinstance(known, _PLAIN | tuple):
                found[one.id] = known
    return found


def bound(function: Function, call: ast.Call, names: Names, *, changed: bool) -> dict[str, object]:
    """Return what is known of the arguments of a call, by the names of the parameters.

    Lists are not where something in the function may have ``changed`` them.
    """
    table: dict[str, ast.expr] = {}
    inner = {one.name: value_of(one.default, {}) for one in function.arguments if one.default is not None}
    if any(isinstance(argument, ast.Starred) for argument in call.args) or any(k.arg is None for k in call.keywords):
        return {}
    table.update(zip((one.name for one in function.arguments), call.args, strict=False))
    table.update({keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None})
    inner.update({name: value_of(node, names) for name, node in table.items()})
    return {
        name: value
        for name, value in inner.items()
        if isinstance(value, _PLAIN | tuple) and not (isinstance(value, tuple) and changed)
    }
