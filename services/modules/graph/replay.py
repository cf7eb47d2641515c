"""One operation alone: called again on the values it had, so that autograd gives its own local derivatives."""

from __future__ import annotations

from typing import Any

import torch

from services.modules.graph.nodes import Node, Operation, Slot, replaced, tensors_in

Cotangents = list[torch.Tensor | None]


class Replay:
    """An operation called again on leaves of its own: nothing before it, and nothing beside it, is in its graph."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self._leaves = [_leaf(node) for node in operation.inputs]
        self._outputs = self._call()

    def deviation(self) -> float:
        """Return the largest difference between the outputs of this call and those of the run."""
        found = 0.0
        for output, node in zip(self._outputs, self.operation.outputs, strict=True):
            difference = (output.detach().double() - node.tensor_value().double()).abs().nan_to_num(0.0, 0.0)
            found = max(found, float(difference.max()) if difference.numel() else 0.0)
        return found

    def pull(self, position: int, cotangent: torch.Tensor) -> Cotangents:
        """Return the vector-Jacobian product of one output, for each input; None where that output does not depend."""
        output = self._outputs[position]
        wanted = [leaf for leaf in self._leaves if leaf is not None]
        if not output.requires_grad or not wanted:
            return [None] * len(self._leaves)
        found = iter(
            torch.autograd.grad(output, wanted, cotangent.to(output.dtype), retain_graph=True, allow_unused=True)
        )
        return [None if leaf is None else next(found) for leaf in self._leaves]

    def _call(self) -> list[torch.Tensor]:
        operation = self.operation
        written = {index for kind, index in operation.results if kind == "slot"}
        given: list[Any] = []
        for position, (node, leaf) in enumerate(zip(operation.inputs, self._leaves, strict=True)):
            value = node.value if leaf is None else leaf
            given.append(value.clone() if position in written and isinstance(value, torch.Tensor) else value)

        def fill(value: Any) -> Any:  # noqa: ANN401 - arguments of any function
            return given[value.position] if isinstance(value, Slot) else value

        before = torch.get_rng_state()
        try:
            if operation.random_state is not None:
                torch.set_rng_state(operation.random_state)
            with torch.enable_grad():
                result = operation.function(*replaced(operation.arguments, fill), **replaced(operation.keywords, fill))
        finally:
            torch.set_rng_state(before)
        made = tensors_in(result)
        return [made[index] if kind == "result" else given[index] for kind, index in operation.results]


def _leaf(node: Node) -> torch.Tensor | None:
    """Return a leaf with the node's value where a gradient may flow into it."""
    if not node.requires_grad or not isinstance(node.value, torch.Tensor):
        return None
    return node.value.detach().requires_grad_()
