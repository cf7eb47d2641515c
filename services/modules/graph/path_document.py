"""Writes paths as JSON: each step with its local derivative, each path with what it contributes, what is left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from services.modules.graph.formulas import formula
from services.modules.graph.nodes import Node
from services.modules.graph.paths import MAX_PULLS, Listing, Path, Step
from services.modules.graph.sweep import Sweep
from services.modules.graph.values import described, number, value_of

EXACT_INTEGER = 2**53
"""Larger counts are written as text: JSON readers may keep numbers as doubles."""
MAX_JACOBIAN = 64
"""Elements of a local derivative that is written out."""
MAX_STEPS = 3_000
"""Steps of paths that one answer spells out; the paths beyond have their nodes and operations alone."""
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
MAX_LISTED_LEAVES = 20
"""Paths are listed for so many leaves, unless the request names them."""


def path_count(count: int) -> int | str:
    """Return a count as JSON can carry it: beyond 2^53 as text."""
    return count if count <= EXACT_INTEGER else str(count)


def labels(nodes: Sequence[Node]) -> dict[Node, str]:
    """Return what people call each node: its name, its number, or its operation.

    A variable that is assigned again is numbered (y₁, y₂ …); leaves and outputs, which requests name, are not.
    """
    plain = {node: _label(node) for node in nodes}
    taken = Counter(plain.values())
    found, seen = {}, Counter[str]()
    for node, text in plain.items():
        numbered = taken[text] > 1 and node.kind == "value" and node.name
        seen[text] += bool(numbered)
        found[node] = f"{text}{str(seen[text]).translate(_SUBSCRIPTS)}" if numbered else text
    return found


def _label(node: Node) -> str:
    if node.tensor is None:
        return str(node.value)
    if node.name:
        return node.name
    return f"{node.producer.name}_{node.id}" if node.producer is not None else node.id


class PathWriter:
    """Writes the paths of one backward pass, leaf by leaf, within one budget of steps."""

    def __init__(self, found: Sweep, names: Mapping[Node, str]) -> None:
        self._found = found
        self._names = names
        self._steps_left = MAX_STEPS
        self._derivatives: dict[tuple[int, int, int], Any] = {}

    def paths(self, leaf: Node, listing: Listing | None) -> dict[str, Any]:
        """Return how many paths lead to ``leaf``, the listed ones, and the sum of those that are not."""
        count = path_count(self._found.counts.get(leaf, 0))
        if listing is None:
            reason = f"Paths are listed for the first {MAX_LISTED_LEAVES} leaves; name this one in gradients.of."
            left_out = {"count": count, "reason": reason, "sum": None}
            return {"count": count, "listed": 0, "method": None, "computed": 0, "sum_of_computed": None, "items": [],
                    "left_out": left_out}  # fmt: skip
        whole = self._found.gradients.get(leaf)
        return {
            "count": count,
            "listed": len(listing.paths),
            "method": listing.method,
            "computed": listing.computed,
            "sum_of_computed": None if listing.total is None else described(listing.total),
            "items": [self._path(path, whole) for path in listing.paths],
            "left_out": _left_out(listing, whole),
        }

    def _path(self, path: Path, whole: torch.Tensor | None) -> dict[str, Any]:
        nodes = path.nodes() or [self._found.output]
        self._steps_left -= len(path.steps)
        return {
            "nodes": [node.id for node in nodes],
            "operations": [operation.id for operation, _, _ in path.steps],
            "text": " → ".join(self._names[node] for node in nodes),
            "steps": [self._step(step) for step in path.steps] if self._steps_left >= 0 else None,
            "contribution": described(path.contribution),
            "share": None if whole is None else _share(path.contribution, whole),
        }

    def _step(self, step: Step) -> dict[str, Any]:
        operation, position, slot = step
        begin, end = operation.outputs[position], operation.inputs[slot]
        key = (operation.number, position, slot)
        if key not in self._derivatives:
            self._derivatives[key] = self._derivative(step)
        return {
            "from": begin.id,
            "to": end.id,
            "operation": operation.id,
            "input": slot,
            "name": f"∂{self._names[begin]}/∂{self._names[end]}",
            "formula": formula(operation, slot, self._names),
            "derivative": self._derivatives[key],
        }

    def _derivative(self, step: Step) -> Any:  # noqa: ANN401 - nested lists of numbers
        """Return the local derivative where it is small: a number for scalars, else output shape + input shape."""
        operation, position, slot = step
        begin, end = operation.outputs[position].tensor_value(), operation.inputs[slot].tensor_value()
        if not 0 < begin.numel() * end.numel() <= MAX_JACOBIAN:
            return None
        rows = []
        for index in range(begin.numel()):
            unit = torch.zeros(begin.numel(), dtype=begin.dtype)
            unit[index] = 1.0
            part = self._found.replays.of(operation).pull(position, unit.view(begin.shape))[slot]
            rows.append(torch.zeros_like(end) if part is None else part)
        return value_of(torch.stack(rows).reshape([*begin.shape, *end.shape]))


def _share(part: torch.Tensor, whole: torch.Tensor) -> float | int | str | None:
    """Return how much of the gradient, along its own direction, a path makes up: over all paths this adds up to 1."""
    size = float((whole.double() ** 2).sum())
    share = float((part.double() * whole.double()).sum()) / size if size else math.nan
    return number(share) if math.isfinite(share) else None


def _left_out(listing: Listing, whole: torch.Tensor | None) -> dict[str, Any]:
    rest = listing.count - len(listing.paths)
    if not rest or whole is None:
        return {"count": 0, "reason": None, "sum": None}
    shown = whole.clone()
    for path in listing.paths:
        shown -= path.contribution
    asked = f"{len(listing.paths)} paths were asked for"
    reasons = {
        "pulls": f"The search stopped after its share of {MAX_PULLS} products.",
        "time": "The search stopped at its share of the time.",
        None: f"{asked}." if listing.method == "all" else f"{asked}; {listing.computed} were computed to choose from.",
    }
    return {"count": path_count(rest), "reason": reasons[listing.stopped], "sum": described(shown)}
