"""Autograd's own graph of the run: what will be called, in which order, when ``backward`` is."""

from __future__ import annotations

from typing import Any

from services.modules.graph.capture import Capture
from services.modules.graph.nodes import Node

MAX_FUNCTIONS = 20_000


def backward(capture: Capture, outputs: list[Node]) -> dict[str, Any]:
    """Return autograd's nodes reached from ``outputs``, each with the operation that made it, and the edges between.

    An edge's ``input`` says which of the receiving node's inputs the gradient arrives at. ``AccumulateGrad`` has the
    leaf, as ``node``, whose gradient it holds.
    """
    leaves = {id(node.tensor): node for node in capture.nodes if node.leaf and node.tensor is not None}
    begin = [node.tensor.grad_fn for node in outputs if node.tensor is not None and node.tensor.grad_fn is not None]
    numbers: dict[int, int] = {}
    order: list[Any] = []
    waiting = list(reversed(begin))
    while waiting and len(order) < MAX_FUNCTIONS:
        function = waiting.pop()
        if id(function) in numbers:
            continue
        numbers[id(function)] = len(order)
        order.append(function)
        waiting += [following for following, _ in reversed(function.next_functions) if following is not None]
    edges = [
        {"from": f"b{numbers[id(function)]}", "to": f"b{numbers[id(following)]}", "input": position}
        for function in order
        for following, position in function.next_functions
        if id(following) in numbers
    ]
    nodes = [_function(capture, leaves, function, number) for number, function in enumerate(order)]
    return {"nodes": nodes, "edges": edges, "truncated": bool(waiting)}


def _function(capture: Capture, leaves: dict[int, Node], function: Any, number: int) -> dict[str, Any]:  # noqa: ANN401
    operation = capture.record.functions.get(id(function))
    leaf = leaves.get(id(getattr(function, "variable", None)))
    return {
        "id": f"b{number}",
        "name": function.name().removeprefix("torch::autograd::"),
        "operation": operation.id if operation else None,
        "node": leaf.id if leaf else None,
    }
