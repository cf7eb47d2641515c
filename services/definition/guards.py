"""The guards of emitted source: what asks the budget of one forward, as text, and where it is put."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TypeVar

from services.definition.problems import mark, place_of

FULL_BUDGET = 1_000_000
_Tree = TypeVar("_Tree", bound=ast.AST)

HELPERS = {
    "_spend": f'''
def _spend(count):
    """Take from the budget of this forward: turns of loops, and items of the lists and strings that it makes."""
    _budget["turns"] -= count
    if _budget["turns"] < 0:
        raise RuntimeError("one forward took more than its {FULL_BUDGET} turns of loops and items of lists")
''',
    "_turns": '''
def _turns(items, cost=1):
    """Return ``items`` if this forward may still take so many turns; each costs what the loop holds."""
    if not hasattr(items, "__len__"):
        items = list(items)
    _spend(len(items) * cost)
    return items
''',
    "_items": '''
def _items(items):
    """Return ``items``, of which a new list is made or which are gone through: 16 cost as much as one turn."""
    if hasattr(items, "__len__"):
        _spend(len(items) // 16)
    return items
''',
    "_grown": '''
def _grown(value):
    """Return what an operation made: integers stay below 2 ** 63, 16 items of a list or string cost one turn."""
    if isinstance(value, int) and abs(value) > 2**63:
        raise RuntimeError("an integer grew beyond 2 ** 63")
    if isinstance(value, (str, list, tuple, dict)):
        _spend(len(value) // 16)
    return value
''',
    "_power": '''
def _power(base, exponent):
    """Return ``base ** exponent``; integers stay below 2 ** 63."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if abs(base) > 1 and exponent * abs(base).bit_length() > 64:
            raise RuntimeError("an integer grew beyond 2 ** 63")
    return base**exponent
''',
    "_repeated": '''
def _repeated(left, right):
    """Ask the budget before a list, tuple or string is repeated."""
    for items, count in ((left, right), (right, left)):
        if isinstance(items, nn.Module):
            raise RuntimeError("modules do not compute")
        if isinstance(items, (str, list, tuple)):
            _spend(len(items) * len(range(count)) // 16)
''',
    "_times": '''
def _times(left, right):
    """Return ``left * right``; a list, tuple or string is not repeated beyond the budget."""
    _repeated(left, right)
    return _grown(left * right)
''',
    "_multiplied": '''
def _multiplied(left, right):
    """Return ``left`` after ``left *= right``, in place where it can be changed."""
    _repeated(left, right)
    left *= right
    return _grown(left)
''',
    "_added": '''
def _added(left, right):
    """Return ``left`` after ``left += right``, in place where it can be changed."""
    if isinstance(left, nn.Module):
        raise RuntimeError("a forward must not change the containers of its model")
    if isinstance(left, list):
        right = _turns(right)
        left += right
        return left
    left += right
    return _grown(left)
''',
    "_raised": '''
def _raised(base, exponent):
    """Return ``base`` after ``base **= exponent``, in place where it can be changed."""
    if isinstance(base, int):
        return _power(base, exponent)
    base **= exponent
    return base
''',
    "_product": '''
def _product(numbers, start=1):
    """Return ``math.prod(numbers)``; integers stay below 2 ** 63."""
    result = 1
    for part in ((start,), _turns(numbers)):
        for number in part:
            if isinstance(number, (str, list, tuple)):
                raise RuntimeError("prod multiplies numbers, not what holds them")
            result = _grown(result * number)
    return result
''',
    "_numbers": '''
def _numbers(value):
    """Return ``value.tolist()``, once the budget has paid for every number."""
    _spend(value.numel())
    return value.tolist()
''',
    "_deep": '''
def _deep(value):
    """Return ``value``, once the budget has paid for everything inside it, however deep."""
    boxes = [value]
    for box in boxes:
        if isinstance(box, (list, tuple, dict, range)):
            _spend(len(box))
            if not isinstance(box, range):
                boxes += box.values() if isinstance(box, dict) else box
    return value
''',
    "_local": '''
def _local(value):
    """Return what a forward is about to change; the containers of its model stay as they were built."""
    if isinstance(value, nn.Module):
        raise RuntimeError("a forward must not change the containers of its model")
    return value
''',
    "_descend": '''
def _descend(left):
    """Let a function that calls itself go on while ``left`` is above 0; each call is one turn of the budget."""
    if left < 1:
        raise RuntimeError("a function called itself deeper than its at_most")
    _spend(1)
''',
}
_BUDGET_HINT = "Make its loops shorter, or its lists and strings smaller: every forward has the budget anew."
_FAILURES = (
    ("one forward took more than its", "forward_budget_exceeded", _BUDGET_HINT),
    ("an integer grew beyond", "forward_budget_exceeded", "Compute with tensors, or keep the numbers small."),
    ("a function called itself deeper", "forward_budget_exceeded", "Let it stop sooner, or raise its at_most."),
    ("a forward must not change the containers", "model_changed_in_forward", "Do it in init."),
    ("prod multiplies numbers", "invalid_expression", "Multiply what lies inside."),
    ("modules do not compute", "invalid_expression", "Call them."),
)


def failure(text: str) -> tuple[str, str] | None:
    """Return the code of what a guard raised, and the fix; ``None`` for other errors."""
    return next(((code, hint) for words, code, hint in _FAILURES if words in text), None)


_NEEDS = {"_times": {"_repeated", "_grown"}, "_multiplied": {"_repeated", "_grown"}, "_added": {"_turns", "_grown"},
          "_raised": {"_power"}, "_product": {"_turns", "_grown"}}  # fmt: skip
UNBUDGETED = frozenset({"_power", "_local", "_raised"})
"""Guards that ask no budget."""


def complete(names: frozenset[str]) -> frozenset[str]:
    """Return the guards with those that they call themselves."""
    found = set(names)
    for name in names:
        found |= _NEEDS.get(name, set())
    return frozenset(found | ({"_spend"} if found - UNBUDGETED else set()))


class Guarding(ast.NodeTransformer):
    """Puts guards where the inference wants them."""

    def __init__(self, wants: Mapping[int, str], costs: Mapping[int, int]) -> None:
        self.wants = wants
        self.costs = costs
        self.used: set[str] = set()

    def body(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Return statements with their guards."""
        return [new for old in body for new in self._statement(old)]

    def _statement(self, node: ast.stmt) -> list[ast.stmt]:
        found = self.visit(node)
        return found if isinstance(found, list) else [found]

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Guard what lies inside first, then the node itself."""
        guard = self.wants.get(id(node))
        super().generic_visit(node)
        if not guard or not isinstance(node, ast.expr) or isinstance(getattr(node, "ctx", None), ast.Store):
            return node
        return self._guarded(node, guard)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """``a += b`` is ``a = _grown(a + b)`` for numbers and strings; ``a = _added(a, b)`` where it may be a list."""
        guard = self.wants.get(id(node))
        super().generic_visit(node)
        if guard is None:
            return node
        load = _loaded(node.target)
        if guard == "_after":
            return [node, self._marked(ast.Expr(self._call("_grown", [load])), node)]
        if guard == "_grown":
            value = self._call("_grown", [ast.BinOp(load, node.op, node.value)])
        else:
            value = self._call(guard, [load, node.value])
        return self._marked(ast.Assign([node.target], value), node)

    def visit_For(self, node: ast.For) -> ast.AST:
        """A loop whose turns are counted pays for what each of them holds."""
        return self._loop(node, node.iter)

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        """As a loop."""
        return self._loop(node, node.iter)

    def _loop(self, node: ast.For | ast.comprehension, iterable: ast.expr) -> ast.AST:
        cost = self.costs.get(id(node), 1) if self.wants.get(id(iterable)) == "_turns" else 1
        self.generic_visit(node)
        if cost > 1 and isinstance(node.iter, ast.Call):
            node.iter.args.append(ast.Constant(cost))
        return node

    def _guarded(self, node: ast.expr, guard: str) -> ast.expr:
        if guard in {"_power", "_times"} and isinstance(node, ast.BinOp):
            return self._marked(self._call(guard, [node.left, node.right]), node)
        if isinstance(node, ast.Call) and guard in {"_numbers", "_local"} and isinstance(node.func, ast.Attribute):
            if guard == "_numbers":
                return self._marked(self._call(guard, [node.func.value]), node)
            node.func.value = self._call(guard, [node.func.value])
            return node
        if isinstance(node, ast.Call) and guard == "_product":
            self.used.add(guard)
            node.func = ast.Name(guard, ast.Load())
            return node
        return self._marked(self._call(guard, [node]), node)

    def _call(self, guard: str, arguments: list[ast.expr]) -> ast.Call:
        self.used.add(guard)
        return ast.Call(ast.Name(guard, ast.Load()), arguments, [])

    def _marked(self, new: _Tree, old: ast.AST) -> _Tree:
        place = place_of(old)
        return new if place is None else mark(new, place)


def _loaded(target: ast.expr) -> ast.expr:
    """Return what is assigned to, as it is read."""
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    if isinstance(target, ast.Subscript):
        return ast.Subscript(target.value, target.slice, ast.Load())
    return target
