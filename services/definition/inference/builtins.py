"""Infers what Python's own functions give in a forward."""

from __future__ import annotations

import ast

from services.definition.inference.kinds import (
    A_NUMBER,
    A_TRUTH,
    BOXES,
    DATA,
    DICT,
    EVERYTHING,
    HUGE,
    INT,
    LIST,
    NOTHING,
    NUMBER,
    OTHER,
    SIZE,
    TENSOR,
    Kind,
    integer,
    join,
    places,
    row,
    text,
    union,
)
from services.definition.inference.operators import Operators

_NUMBER_CHARACTERS = 80
"""``str`` of a number: 2^256 has 78 digits."""


class Arguments:
    """Evaluated arguments of one call."""

    def __init__(self, positional: list[Kind], named: dict[str, Kind], *, open_ended: bool) -> None:
        self.positional = positional
        self.named = named
        self.open_ended = open_ended
        """Whether a splat hides which argument is which."""

    def every(self) -> Kind:
        """Return the union of all."""
        return union([*self.positional, *self.named.values()])

    def at(self, index: int, name: str = "") -> Kind:
        """Return one argument."""
        if self.open_ended:
            return self.every()
        return self.named.get(name) or (self.positional[index] if index < len(self.positional) else NOTHING)


class Builtins(Operators):
    """The builtin functions of the language."""

    def builtin(self, name: str, node: ast.Call, arguments: Arguments) -> Kind:  # noqa: PLR0911 - one a line
        """Return what a builtin function gives."""
        every, first = arguments.every(), arguments.at(0)
        if name.startswith("_"):  # _descend, which counts how deep a function calls itself
            return A_TRUTH
        if name in {"len", "range"}:
            return self._range(node, arguments) if name == "range" else integer(min(self.turns(first), SIZE))
        if name in {"int", "float", "bool", "str", "abs", "round"}:
            return self._scalar(name, node, first)
        if name in {"any", "all"}:
            self.consumed(node.args[0], first)
            return A_TRUTH
        if name in {"sum", "min", "max"}:
            return self._fold(name, node, arguments)
        if name in {"enumerate", "zip", "reversed"}:
            return self._rows(name, arguments)
        if node.args:
            self.consumed(node.args[0], first)
        if name == "sorted" and node.args:
            self.walked(node.args[0], first)
        if name in {"dict", "OrderedDict"}:
            return self._table(node, arguments)
        items, length = self.element(first), self.turns(first) if first.flags else 0
        return row(items, length) if name == "tuple" else self.made(node, LIST, items, length) if every else NOTHING

    def _range(self, node: ast.Call, arguments: Arguments) -> Kind:
        bounds = [argument.high if argument.must(INT | OTHER) else SIZE for argument in arguments.positional]
        length = HUGE if arguments.open_ended else sum(bounds[:2])
        return row(integer(min(max(bounds, default=0), SIZE)), length)

    def _scalar(self, name: str, node: ast.Call, kind: Kind) -> Kind:
        if name == "str":
            if node.args:
                self.walked(node.args[0], kind)
            plain = kind.must(INT | OTHER | NUMBER)
            return text(_NUMBER_CHARACTERS if plain else HUGE)
        if name in {"float", "bool"}:
            return A_NUMBER if name == "float" else A_TRUTH
        whole = integer(max(kind.high, DATA if kind.may(EVERYTHING & ~(INT | OTHER)) else 1))
        if name == "int":
            return whole
        return join(whole if kind.may(EVERYTHING & ~(TENSOR | NUMBER)) or name == "round" else NOTHING,
                    kind.only(TENSOR | NUMBER))  # fmt: skip

    def _fold(self, name: str, node: ast.Call, arguments: Arguments) -> Kind:
        first = arguments.at(0)
        if name != "sum" and len(node.args) > 1:
            return arguments.every()
        if not node.args:
            return NOTHING
        self.consumed(node.args[0], first)
        items = self.element(first)
        if name != "sum":
            self.walked(node.args[0], first)
            return items
        start = arguments.at(1, "start")
        if start.may(BOXES):
            self.refuse(node, "sum adds numbers and tensors here.", "Join lists with extend, in a loop.")
        length = self.turns(first)
        if items.may(INT | OTHER) and length * max(items.high, 1) >= HUGE:
            self.want(node, "_grown")
        number = (
            integer(min(length * max(items.high, 1), SIZE)) if items.may(INT | OTHER) or not items.flags else NOTHING
        )
        return union([number, items.only(TENSOR | NUMBER), start.only(TENSOR | NUMBER | INT), integer(1)])

    def _rows(self, name: str, arguments: Arguments) -> Kind:
        inside = [self.element(kind) for kind in arguments.positional]
        length = max(map(self.turns, arguments.positional), default=0)
        if name == "reversed":
            return row(inside[0] if inside else NOTHING, length)
        if name == "enumerate":
            inside = [integer(SIZE), *inside[:1]]
        return row(row(union(inside), HUGE) if arguments.open_ended else places(inside), length)

    def _table(self, node: ast.Call, arguments: Arguments) -> Kind:
        first = arguments.at(0)
        pairs = self.element(first)
        keys, items = (
            join(self.heap.keys(first), self.element(pairs)),
            join(self.heap.items(first), self.element(pairs)),
        )
        items = join(items, union(arguments.named.values()))
        length = (self.turns(first) if first.flags else 0) + len(arguments.named)
        return self.made(node, DICT, items, HUGE if arguments.open_ended else length, join(keys, text(100)))
