"""Local derivatives in words, for the operations of a first lesson."""

from __future__ import annotations

from collections.abc import Mapping

from services.modules.graph.nodes import Node, Operation


def formula(operation: Operation, slot: int, names: Mapping[Node, str]) -> str | None:
    """Return ∂output/∂input as text: for ``a * b`` and the first input, what b is called. None where there is none.

    The formulas are those of a scalar, element by element; ``y`` is the operation's own output.
    """
    given = [names[node] for node in operation.inputs]
    name = operation.name.rstrip("_")
    if len(given) == 2 and name in _BINARY and slot < 2:
        return _BINARY[name][slot].format(*given)
    if len(given) == 1 and name in _UNARY:
        return _UNARY[name].format(given[0], y=names[operation.outputs[0]])
    return None


_BINARY = {
    "add": ("1", "1"),
    "sub": ("1", "-1"),
    "mul": ("{1}", "{0}"),
    "div": ("1 / {1}", "-{0} / {1}²"),
    "pow": ("{1} · {0}^({1} - 1)", "{0}^{1} · log({0})"),
}
_UNARY = {
    "neg": "-1",
    "exp": "exp({0})",
    "log": "1 / {0}",
    "sin": "cos({0})",
    "cos": "-sin({0})",
    "sqrt": "1 / (2 · {y})",
    "square": "2 · {0}",
    "abs": "sign({0})",
    "tanh": "1 - {y}²",
    "sigmoid": "{y} · (1 - {y})",
    "relu": "1 where {0} > 0, else 0",
}
