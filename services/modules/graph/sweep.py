"""One pass back through a recorded graph: the gradient at each node, and how many paths lead to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from services.errors import InvalidRequest, Problem
from services.modules.graph.nodes import Node, Operation
from services.modules.graph.replay import Cotangents, Replay

CACHED_BYTES = 256 << 20
"""Operations are kept ready to be pulled again while their inputs need no more memory than this."""


class Replays:
    """The operations of one graph, each replayed once and kept while memory allows; counts what is pulled."""

    def __init__(self) -> None:
        self.pulls = 0
        self.deviation = 0.0
        """The largest difference between what an operation gave when called again and what it gave in the run."""
        self._kept: dict[int, Replay] = {}
        self._bytes = 0

    def pull(self, operation: Operation, position: int, cotangent: torch.Tensor) -> Cotangents:
        """Return the vector-Jacobian products of one output of ``operation``."""
        self.pulls += 1
        return self.of(operation).pull(position, cotangent)

    def of(self, operation: Operation) -> Replay:
        """Return the operation, called again."""
        found = self._kept.get(operation.number)
        if found is None:
            found = Replay(operation)
            self.deviation = max(self.deviation, found.deviation())
            self._bytes += sum(_size(node) for node in [*operation.inputs, *operation.outputs])
            if self._bytes <= CACHED_BYTES:
                self._kept[operation.number] = found
        return found


@dataclass(slots=True)
class Sweep:
    """What one backward pass found."""

    output: Node
    cotangent: torch.Tensor
    replays: Replays
    gradients: dict[Node, torch.Tensor] = field(default_factory=dict)
    """The sum over all paths from the output to each node that any path reaches."""
    counts: dict[Node, int] = field(default_factory=dict)
    """How many paths there are."""
    follows: dict[Node, tuple[int, ...]] = field(default_factory=dict)
    """Node → the inputs of its producer that it depends on differentiably, by position."""
    flows: dict[tuple[int, int], float] = field(default_factory=dict)
    """(number of an operation, position of an input) → norm of what this use adds to the input's gradient; where
    several outputs bring something, as if the parts did not overlap (those of a split do not)."""


def sweep(operations: Sequence[Operation], output: Node, cotangent: torch.Tensor) -> Sweep:
    """Go back from ``output`` through all operations in reverse order.

    Each operation is differentiated alone, by autograd, and what arrives at a node over several ways is added: by the
    chain rule that is the sum over all paths, found without listing them. ``cotangent`` weighs the output's elements.
    """
    found = Sweep(output, cotangent, Replays())
    found.gradients[output], found.counts[output] = cotangent, 1
    for operation in reversed(operations):
        for position, node in enumerate(operation.outputs):
            if node in found.gradients:
                _step_back(found, operation, position, node)
    return found


def _step_back(found: Sweep, operation: Operation, position: int, node: Node) -> None:
    parts = found.replays.pull(operation, position, found.gradients[node])
    found.follows[node] = tuple(slot for slot, part in enumerate(parts) if part is not None)
    for slot, part in enumerate(parts):
        if part is None:
            continue
        source = operation.inputs[slot]
        before = found.gradients.get(source)
        found.gradients[source] = part if before is None else before + part
        key = (operation.number, slot)
        found.flows[key] = math.hypot(found.flows.get(key, 0.0), float(part.double().norm()))
        found.counts[source] = found.counts.get(source, 0) + found.counts[node]


def first_non_finite(found: Sweep, operations: Sequence[Operation]) -> Operation | None:
    """Return the operation that first, on the way back, made a NaN or an infinity of a finite gradient."""
    bad = {node for node, gradient in found.gradients.items() if not bool(torch.isfinite(gradient).all())}
    for operation in reversed(operations):
        arrived = any(node in bad for node in operation.outputs)
        made = (node for slot, node in enumerate(operation.inputs) if not math.isfinite(_flow(found, operation, slot)))
        if not arrived and any(node in bad for node in made):
            return operation
    return None


def _flow(found: Sweep, operation: Operation, slot: int) -> float:
    return found.flows.get((operation.number, slot), 0.0)


def gradients_of(
    output: torch.Tensor, leaves: Sequence[torch.Tensor], cotangent: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients that autograd finds in the graph of the run itself; None where no path leads.

    Raises:
        InvalidRequest: ``backward_failed``: a value that backward needs was overwritten in place.
    """
    try:
        return torch.autograd.grad(output, leaves, cotangent, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        detail = f"Backward fails: {str(error).split(' Hint:')[0].splitlines()[0]}"
        hint = "Write y = y * 2 instead of y *= 2 where the old value is needed again."
        raise InvalidRequest([Problem("backward_failed", detail[:500], "/gradients", hint)]) from None


def reaching(found: Sweep, leaf: Node, operations: Sequence[Operation]) -> set[Node]:
    """Return the nodes on the paths from the output to ``leaf``."""
    nodes = {leaf}
    for operation in operations:
        for node in operation.outputs:
            if any(operation.inputs[slot] in nodes for slot in found.follows.get(node, ())):
                nodes.add(node)
    return nodes


def _size(node: Node) -> int:
    value = node.value
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0
