"""Proof of the gradients: the same run in float64, its path sums, autograd and finite differences side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from services.errors import InvalidRequest
from services.modules.graph.capture import Capture
from services.modules.graph.nodes import Node, tensors_in
from services.modules.graph.subject import Subject
from services.modules.graph.sweep import gradients_of, sweep
from services.modules.graph.values import number, value_of

STEP = 6e-6
"""Relative step of the central differences: near the cube root of float64's precision, where their error is least."""
FINER = 1e-2
"""What the step is shortened by where the first disagrees: among the thousands of corners of a network of ReLUs some
lie near enough to be crossed, while a corner at the very point shows with every step."""
MAX_ELEMENTS = 8
"""Leaves with more elements are checked along one direction instead of element by element."""
MAX_RUNS = 400
TOLERANCE = 1e-5
"""Two gradients agree when they differ by no more than this, times the norm of the gradient where that is above 1."""


@dataclass(slots=True)
class Verified:
    """Three ways to one gradient, in float64."""

    sum_of_paths: torch.Tensor
    autograd: torch.Tensor
    difference: torch.Tensor | None = None
    """Finite differences, element by element."""
    along: tuple[float, float] | None = None
    """Along one direction: by finite differences, and by autograd."""

    def gap(self) -> float | None:
        """Return by how much finite differences and autograd differ; None before they were measured."""
        if self.difference is not None:
            return _distance(self.difference, self.autograd)
        return None if self.along is None else abs(self.along[0] - self.along[1])

    def corner(self) -> bool:
        """Tell whether finite differences disagree."""
        return self._agrees(self.gap()) is False

    def _agrees(self, difference: float | None) -> bool | None:
        size = float(torch.linalg.vector_norm(self.autograd)) if self.autograd.numel() else 0.0
        return None if difference is None else difference <= TOLERANCE * max(1.0, size)

    def document(self) -> dict[str, Any]:
        """Return the JSON form; the differences are the largest absolute ones.

        Where finite differences disagree, the function has a kink or a jump there, or the definition stops or replaces
        the gradient (``detach``).
        """
        paths, finite = _distance(self.sum_of_paths, self.autograd), self.gap()
        return {
            "sum_of_paths": value_of(self.sum_of_paths),
            "autograd": value_of(self.autograd),
            "finite_difference": None if self.difference is None else value_of(self.difference),
            "along_direction": None if self.along is None else [number(one) for one in self.along],
            "max_abs_difference": number(paths if finite is None else _larger(paths, finite)),
            "agrees": {"paths": self._agrees(paths), "finite_difference": self._agrees(finite)},
            "differences": {"paths": number(paths), "finite_difference": None if finite is None else number(finite)},
        }


@dataclass(frozen=True, slots=True)
class Question:
    """What is checked: an output by position, one element of it or their sum, and leaves by name."""

    position: int
    element: tuple[int, ...] | None
    leaves: Sequence[str]
    deadline: float
    """By `time.monotonic`."""


@dataclass(slots=True)
class Checks:
    """What could be checked, and why the rest could not."""

    leaves: dict[str, Verified] = field(default_factory=dict)
    runs: int = 0
    reason: str | None = None

    def summary(self) -> dict[str, Any]:
        """Return the JSON form of what holds for all leaves."""
        rows = [one.document() for one in self.leaves.values()]
        differences = [row["max_abs_difference"] for row in rows]
        numbers = [one for one in differences if not isinstance(one, str)]
        return {
            "dtype": "float64",
            "step": STEP,
            "runs": self.runs,
            "leaves": len(rows),
            "tolerance": TOLERANCE,
            "agrees": all(value is not False for row in rows for value in row["agrees"].values()) if rows else None,
            "max_abs_difference": max(numbers) if numbers and len(numbers) == len(differences) else None,
            "reason": self.reason,
        }


def verify(subject: Subject, capture: Capture, question: Question) -> Checks:
    """Run ``subject`` again in float64 and compare the three ways for each leaf, as far as the time goes."""
    checks = Checks()
    twin = subject.in_float64()
    try:
        record, result = twin.capture(max_operations=len(capture.operations) + 1000)
    except InvalidRequest as error:
        checks.reason = f"The definition does not run in float64: {error.problems[0].detail}"
        return checks
    outputs = tensors_in(result)
    if record.left_out or question.position >= len(outputs) or not outputs[question.position].requires_grad:
        checks.reason = "In float64 the run takes another way."
        return checks
    _compare(checks, twin, record, outputs[question.position], question)
    return checks


def _compare(checks: Checks, twin: Subject, record: Capture, output: torch.Tensor, question: Question) -> None:
    cotangent = torch.ones_like(output) if question.element is None else torch.zeros_like(output)
    if question.element is not None:
        cotangent[question.element] = 1.0
    known = {node.name: node for node in record.nodes if node.leaf and node.name and node.tensor is not None}
    found = [node for name in question.leaves if (node := known.get(name)) is not None]
    tensors = [node.tensor for node in found if node.tensor is not None]
    exact = gradients_of(output, tensors, cotangent)
    swept = sweep(record.operations, record.record.node_of(output), cotangent)
    for node, gradient in zip(found, exact, strict=True):
        zero = torch.zeros_like(node.tensor_value())
        checks.leaves[str(node.name)] = Verified(
            swept.gradients.get(node, zero), zero if gradient is None else gradient
        )
    _differences(checks, Moves(twin, question.position, cotangent), found, question.deadline)


def _differences(checks: Checks, moves: Moves, leaves: Sequence[Node], deadline: float) -> None:
    for node in leaves:
        value = node.tensor_value()
        cost = 2 * value.numel() if value.numel() <= MAX_ELEMENTS else 2
        if checks.runs + cost > MAX_RUNS or time.monotonic() > deadline:
            checks.reason = f"Finite differences ended after {checks.runs} runs."
            return
        one = _measured(moves, node, checks.leaves[str(node.name)], STEP)
        if one.corner() and checks.runs + 2 * cost <= MAX_RUNS:
            checks.runs += cost
            one = min(one, _measured(moves, node, one, STEP * FINER), key=_gap)
        checks.leaves[str(node.name)] = one
        checks.runs += cost


def _measured(moves: Moves, node: Node, one: Verified, step: float) -> Verified:
    """Return ``one`` with finite differences: element by element, or along one direction where elements are many."""
    value = node.tensor_value()
    if value.numel() <= MAX_ELEMENTS:
        units = torch.eye(value.numel(), dtype=torch.float64).view(value.numel(), *value.shape)
        rows = [moves.slope(node, unit, step) for unit in units]
        return replace(one, difference=torch.tensor(rows, dtype=torch.float64).view(value.shape))
    direction = _direction(value)
    return replace(one, along=(moves.slope(node, direction, step), float((one.autograd * direction).sum())))


def _gap(one: Verified) -> float:
    gap = one.gap()
    return math.inf if gap is None or math.isnan(gap) else gap


@dataclass(frozen=True, slots=True)
class Moves:
    """Runs a model with one leaf moved, and weighs the output that comes of it."""

    twin: Subject
    position: int
    cotangent: torch.Tensor

    def slope(self, node: Node, direction: torch.Tensor, step: float) -> float:
        """Return the central difference of the output along ``direction``; ``step`` is relative to the values."""
        value = node.tensor_value()
        size = float((value * (direction != 0)).abs().max()) if value.numel() else 0.0
        step *= max(1.0, size if math.isfinite(size) else 1.0)
        ahead, behind = self._moved(node, value + step * direction), self._moved(node, value - step * direction)
        return (ahead - behind) / (2 * step)

    @torch.no_grad()
    def _moved(self, node: Node, value: torch.Tensor) -> float:
        if node.kind == "input":
            return self._weighed(self.twin.call({**self.twin.inputs, str(node.name): value}))
        parameter = self.twin.model.get_parameter(str(node.name))
        before = parameter.detach().clone()
        parameter.copy_(value)
        try:
            return self._weighed(self.twin.call(self.twin.inputs))
        finally:
            parameter.copy_(before)

    def _weighed(self, result: object) -> float:
        outputs = tensors_in(result)
        output = outputs[self.position] if self.position < len(outputs) else None
        fits = output is not None and output.shape == self.cotangent.shape
        return float((output * self.cotangent).sum()) if output is not None and fits else math.nan


def _direction(value: torch.Tensor) -> torch.Tensor:
    """Return a unit vector that does not depend on the value: signs drawn with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, value.shape, generator=generator, dtype=torch.float64) * 2 - 1
    return signs / math.sqrt(value.numel())


def _larger(left: float, right: float) -> float:
    return math.nan if math.isnan(left) or math.isnan(right) else max(left, right)


def _distance(left: torch.Tensor, right: torch.Tensor) -> float:
    """Return the largest absolute difference; NaN against NaN is none."""
    difference = torch.where(left.isnan() & right.isnan(), torch.zeros_like(left), (left - right).abs())
    difference = torch.where(left == right, torch.zeros_like(difference), difference)
    return float(difference.max()) if difference.numel() else 0.0
