"""How much one forward does by its text alone: calls and turns of loops, multiplied through functions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from services.definition.inference.values import Findings
from services.definition.program import Function

_CHEAP = 100
"""Calls and turns inside one counted turn that are not worth mentioning."""


class Workload:
    """Costs of functions, calls and loops; a loop that is counted at run time weighs as one turn here."""

    def __init__(self, functions: Mapping[int, Function], found: Findings) -> None:
        self._functions = functions
        self._found = found
        self._known: dict[int, int] = {}
        self.nodes: list[tuple[int, ast.AST]] = []
        """What calls and loops cost, with the node."""
        self.counted: dict[int, int] = {}
        """What a turn of a counted loop costs, in hundreds."""

    def of_function(self, key: int) -> int:
        """Return the cost of one call; a function that calls itself pays for that at run time."""
        if key not in self._known:
            self._known[key] = 0
            self._known[key] = 1 + self._of_all(self._functions[key].body)
        return self._known[key]

    def _of_all(self, nodes: Iterable[ast.AST]) -> int:
        return sum(map(self._of_node, nodes))

    def _of_node(self, node: ast.AST) -> int:
        if isinstance(node, ast.For):
            cost = self._of_node(node.iter) + self._turned(node, node.body) + self._of_all(node.orelse)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            head = node.generators[0]
            inside = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            cost = self._of_node(head.iter) + self._turned(head, [*inside, *head.ifs])
        elif isinstance(node, ast.Call):
            callees = self._found.callees.get(id(node), {})
            called = sum(times * self.of_function(key) for key, times in callees.items())
            cost = 1 + called + self._of_all(ast.iter_child_nodes(node))
        else:
            return self._of_all(ast.iter_child_nodes(node))
        self.nodes.append((cost, node))
        return cost

    def _turned(self, loop: ast.AST, body: Iterable[ast.AST]) -> int:
        inside = self._of_all(body)
        turns = self._found.turns.get(id(loop))
        if turns is None:
            self.counted[id(loop)] = max(inside // _CHEAP, self.counted.get(id(loop), 1))
            return inside
        return turns * (1 + inside)
