"""Infers what operators give, and which of them make numbers or sequences that the text does not bound."""

from __future__ import annotations

import ast

from services.definition.inference.kinds import (
    A_NUMBER,
    A_TENSOR,
    A_TRUTH,
    BOXES,
    DICT,
    HUGE,
    INT,
    LIST,
    MODULE,
    NOTHING,
    NUMBER,
    OTHER,
    SIZE,
    TENSOR,
    TEXT,
    TUPLE,
    Kind,
    integer,
    join,
    row,
    text,
    union,
)
from services.definition.inference.values import FREE_LENGTH, Names, Values

_COUNTS = INT | OTHER
_STEP = 1 << 20
_MODULE_DETAIL = "Modules do not compute; call them."


class Operators(Values):
    """Arithmetic, comparison, and the joining of sequences."""

    def unary(self, node: ast.UnaryOp, names: Names) -> Kind:
        """Return what a sign or ``not`` gives."""
        kind = self.kind(node.operand, names)
        if isinstance(node.op, ast.Not):
            return A_TRUTH
        return join(
            kind.only(TENSOR | NUMBER),
            integer(max(kind.high, 1) + isinstance(node.op, ast.Invert)) if kind.may(_COUNTS) else NOTHING,
        )

    def compare(self, node: ast.Compare, names: Names) -> Kind:
        """Return what a comparison gives: walking through nested lists is counted."""
        nodes = [node.left, *node.comparators]
        found = [self.kind(item, names) for item in nodes]
        for index, operation in enumerate(node.ops):
            left, right = found[index], found[index + 1]
            if isinstance(operation, ast.In | ast.NotIn):
                self.walked(nodes[index + 1], right)
            elif left.may(BOXES) and right.may(BOXES) and self.heap.weight(right) > FREE_LENGTH:
                self.walked(nodes[index], left)
        return join(A_TRUTH, A_TENSOR) if any(kind.may(TENSOR) for kind in found) else A_TRUTH

    def binary(self, node: ast.BinOp, names: Names) -> Kind:
        """Return what an operator gives, and note the guard that it needs."""
        left, right = self.kind(node.left, names), self.kind(node.right, names)
        kind, guard = self.operate(node, node.op, left, right)
        if guard:
            self.want(node, guard)
        return kind

    def operate(self, node: ast.AST, operation: ast.operator, left: Kind, right: Kind) -> tuple[Kind, str]:
        """Return what an operator gives, and the guard that it needs, or ""."""
        if (left.may(MODULE) and left.must(MODULE)) or (right.may(MODULE) and right.must(MODULE)):
            self.refuse(node, _MODULE_DETAIL, None)
        number, unbounded = _arithmetic(operation, left, right)
        found = [A_TENSOR] if left.may(TENSOR) or right.may(TENSOR) else []
        boxes, long = self._joined(node, operation, left, right)
        if isinstance(operation, ast.Pow):
            guard = "_power" if unbounded else ""
        elif isinstance(operation, ast.Mult):
            guard = "_times" if long else "_grown" if unbounded else ""
        else:
            guard = "_grown" if long or unbounded else ""
        return union([*found, number, *boxes]), guard

    def _joined(self, node: ast.AST, operation: ast.operator, left: Kind, right: Kind) -> tuple[list[Kind], bool]:
        """Return the sequences that ``+`` and ``*`` make (and the dicts of ``|``), and whether they are long."""
        found: list[Kind] = []
        lengths = [0]
        for flag in (TEXT, TUPLE, LIST, DICT):
            a, b = left.only(flag), right.only(flag)
            length = -1
            if isinstance(operation, ast.BitOr if flag == DICT else ast.Add) and a.flags and b.flags:
                length = self.heap.length(a) + self.heap.length(b)
            elif isinstance(operation, ast.Mult) and flag != DICT:
                for one, times in ((a, right), (b, left)):
                    if one.flags and times.may(_COUNTS | TENSOR):
                        length = max(
                            length, self.heap.length(one) * (HUGE if times.may(TENSOR) else max(times.high, 1))
                        )
            if length >= 0:
                lengths.append(length)
                found.append(self._sequence(node, flag, join(a, b), min(length, HUGE)))
        return found, max(lengths) > FREE_LENGTH

    def _sequence(self, node: ast.AST, flag: int, kind: Kind, length: int) -> Kind:
        if flag == TEXT:
            return text(length)
        if flag == TUPLE:
            return row(kind.inside, length)
        return self.made(node, flag, self.heap.items(kind), length, self.heap.keys(kind))


def _arithmetic(operation: ast.operator, left: Kind, right: Kind) -> tuple[Kind, bool]:
    """Return the numbers that an operator gives, and whether they could be without a bound."""
    numeric = INT | OTHER | NUMBER
    if not left.may(numeric) or not right.may(numeric):
        return NOTHING, False
    floats = left.may(NUMBER) or right.may(NUMBER) or isinstance(operation, ast.Div | ast.Pow)
    found = A_NUMBER if floats else NOTHING
    if isinstance(operation, ast.Div) or not (left.may(_COUNTS) and right.may(_COUNTS)):
        return found, False
    high = _magnitude(operation, max(left.high, 1), max(right.high, 1))
    return join(found, integer(SIZE if high >= HUGE else high)), high >= HUGE


def _magnitude(operation: ast.operator, left: int, right: int) -> int:
    if isinstance(operation, ast.Add | ast.Sub):
        # A counter: steps below 2^20 do not add up to 2^63 in the time that a forward has.
        return max(left, right) if min(left, right) <= _STEP else left + right
    if isinstance(operation, ast.Mult):
        return left * right
    if isinstance(operation, ast.Pow):
        return left**right if right * left.bit_length() <= HUGE.bit_length() else HUGE
    if isinstance(operation, ast.FloorDiv | ast.Mod):
        return (left if isinstance(operation, ast.FloorDiv) else right) + 1
    return 2 * max(left, right) + 1
