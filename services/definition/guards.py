"""Where a forward could run away, the emitted source asks a guard first; straight-line code has none."""

from __future__ import annotations

import ast

_CONTAINER_VIEWS = {"items", "keys", "values"}
_WRAPPERS = {"enumerate", "zip", "reversed"}
MAX_PLAIN_POWER = 64

HELPERS = {
    "_turns": '''
def _turns(items):
    """Return ``items`` if the loops of this forward may still take so many turns."""
    if not hasattr(items, "__len__"):
        items = list(items)
    _budget["turns"] -= len(items)
    if _budget["turns"] < 0:
        raise RuntimeError("the loops of one forward took more than 1000000 turns")
    return items
''',
    "_descend": '''
def _descend(left):
    """Let a function that calls itself go on while ``left`` is above 0; each call is one turn of the budget."""
    if left < 1:
        raise RuntimeError("a function called itself deeper than its at_most")
    _budget["turns"] -= 1
    if _budget["turns"] < 0:
        raise RuntimeError("the loops of one forward took more than 1000000 turns")
''',
    "_power": '''
def _power(base, exponent):
    """Return ``base ** exponent``; integers stay below 2 ** 63."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if abs(base) > 1 and exponent * abs(base).bit_length() > 64:
            raise RuntimeError("an integer grew beyond 2 ** 63")
    return base**exponent
''',
    "_times": '''
def _times(left, right):
    """Return ``left * right``; a list, tuple or string is not repeated beyond 100000 items."""
    for items, count in ((left, right), (right, left)):
        if isinstance(items, (list, tuple, str)) and len(items) * count > 100000:
            raise RuntimeError("a list or string grew beyond 100000 items")
    return left * right
''',
}

GUARDED: dict[str, type[ast.operator] | None] = {"_turns": None, "_power": ast.Pow, "_times": ast.Mult}
"""What each guard computes, for evaluation without torch."""


def turns(iterable: ast.expr, helpers: set[str]) -> ast.expr:
    """Return ``iterable``, asking the budget first when its length depends on the data."""
    if _short(iterable):
        return iterable
    helpers.add("_turns")
    # len() needs a sequence: enumerate and zip are as long as what they run over.
    if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and iterable.func.id in _WRAPPERS:
        iterable.args = [turns(argument, helpers) for argument in iterable.args]
        return iterable
    if is_guarded(iterable):
        return iterable
    return _call("_turns", iterable)


def is_guarded(node: ast.expr) -> bool:
    """Return whether the node is already a call of a guard."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in HELPERS


def long_range(node: ast.Call, helpers: set[str]) -> ast.expr:
    """Guard ``range(n)`` wherever it stands: ``list`` and ``sum`` run over it as a loop does."""
    if _short(node):
        return node
    helpers.add("_turns")
    return _call("_turns", node)


def binary(left: ast.expr, operator: ast.operator, right: ast.expr, helpers: set[str]) -> ast.expr:
    """Return the operation, guarded where an integer power or a repeated list could explode."""
    if isinstance(operator, ast.Pow) and not _plain_power(left, right):
        helpers.add("_power")
        return _call("_power", left, right)
    sequences = (ast.List, ast.Tuple, ast.ListComp)
    if isinstance(operator, ast.Mult) and any(isinstance(side, sequences) or _is_text(side) for side in (left, right)):
        helpers.add("_times")
        return _call("_times", left, right)
    return ast.BinOp(left, operator, right)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _plain_power(left: ast.expr, right: ast.expr) -> bool:
    if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
        return True  # the check computes it
    exponent = right.operand if isinstance(right, ast.UnaryOp) else right
    if isinstance(exponent, ast.Constant) and isinstance(exponent.value, int | float):
        return abs(exponent.value) <= MAX_PLAIN_POWER
    return isinstance(left, ast.Constant) and isinstance(left.value, float)


def _short(node: ast.expr) -> bool:  # noqa: PLR0911 - one case a line
    """Return whether the length is written down, or is the number of some children."""
    if isinstance(node, ast.List | ast.Tuple):
        return not any(isinstance(item, ast.Starred) for item in node.elts)
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "self"
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in _CONTAINER_VIEWS:
        return _short(node.func.value)
    if not isinstance(node.func, ast.Name):
        return False
    if node.func.id in _WRAPPERS:
        return all(_short(argument) for argument in node.args)
    return node.func.id == "range" and all(_known(argument) for argument in node.args)


def _known(node: ast.expr) -> bool:
    """Return whether a number is written here or is a constant of the module, which the check has seen."""
    if isinstance(node, ast.BinOp):
        return _known(node.left) and _known(node.right)
    if isinstance(node, ast.UnaryOp):
        return _known(node.operand)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "len" and all(_short(item) for item in node.args)
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    return own or isinstance(node, ast.Constant)


def _call(name: str, *arguments: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])
