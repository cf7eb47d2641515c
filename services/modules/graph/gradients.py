"""Gradients of a recorded run: by autograd, and path by path."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from services.definition.problems import nearest_hint
from services.errors import InvalidRequest, Problem
from services.modules.graph.capture import Capture
from services.modules.graph.check import Checks, Question, Verified, verify
from services.modules.graph.nodes import Node, Operation
from services.modules.graph.path_document import MAX_LISTED_LEAVES, PathWriter, labels
from services.modules.graph.paths import MAX_PULLS, Budget, Listing, list_paths
from services.modules.graph.subject import Subject
from services.modules.graph.sweep import Sweep, first_non_finite, gradients_of, sweep
from services.modules.graph.values import described, number, value_of

_CHECK_SWEEPS = 3.0
"""What the run and its sweep in float64 may take, in sweeps of this run."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for: an output (by name or position, one element of it or the sum), leaves, paths."""

    output: str | int | None = None
    element: tuple[int, ...] | None = None
    of: tuple[str, ...] | None = None
    limit: int = 20


@dataclass(slots=True)
class Target:
    """The number that is differentiated: an output weighed with a cotangent."""

    name: str
    position: int
    node: Node
    cotangent: torch.Tensor


def choose_target(outputs: Mapping[str, Node], wanted: Wanted) -> Target:
    """Return the output that is asked for, else the first one with a gradient.

    Raises:
        InvalidRequest: ``unknown_output``, ``out_of_range``, ``not_differentiable``.
    """
    names = list(outputs)
    if not names:
        raise _wrong("not_differentiable", "The model returns no tensor.", "output", "Let forward return one.")
    index = _output_index(names, [node.requires_grad for node in outputs.values()], wanted)
    name, node = names[index], outputs[names[index]]
    if not node.requires_grad:
        detail = f"Output {name!r} ({node.tensor_value().dtype}) depends on no leaf differentiably."
        raise _wrong("not_differentiable", detail, "output", "Ask for a floating point output that depends on one.")
    value = node.tensor_value()
    cotangent = torch.ones_like(value)
    if wanted.element is not None:
        _check_element(wanted.element, list(value.shape))
        cotangent = torch.zeros_like(value)
        cotangent[wanted.element] = 1.0
    return Target(name, index, node, cotangent)


def choose_leaves(capture: Capture, wanted: Wanted) -> list[Node]:
    """Return the leaves that are asked for, else every input and parameter with a gradient.

    Raises:
        InvalidRequest: ``unknown_leaf``, ``not_differentiable``.
    """
    known = {node.name: node for node in capture.nodes if node.leaf and node.name and node.producer is None}
    if wanted.of is None:
        return [node for node in known.values() if node.requires_grad]
    found = []
    for index, name in enumerate(wanted.of):
        node = known.get(name)
        if node is None:
            hint = nearest_hint(name, known) or f"Leaves here are {', '.join(list(known)[:20])}."
            raise _wrong("unknown_leaf", f"There is no leaf {name[:80]!r}.", f"of/{index}", hint)
        if not node.requires_grad:
            raise _wrong("not_differentiable", f"{node.kind} {name!r} takes no gradient.", f"of/{index}", None)
        found.append(node)
    return found


def differentiate(
    subject: Subject, capture: Capture, outputs: Mapping[str, Node], wanted: Wanted, deadline: float
) -> tuple[dict[str, Any], Sweep]:
    """Return the ``gradients`` of an answer, and the pass that found them (with the gradient at each node).

    Raises:
        InvalidRequest: as `choose_target` and `choose_leaves`.
    """
    target, leaves = choose_target(outputs, wanted), choose_leaves(capture, wanted)
    exact = _autograd(target, leaves)
    begin = time.monotonic()
    found = sweep(capture.operations, target.node, target.cotangent)
    swept_seconds = time.monotonic() - begin
    listings = _listings(found, leaves, capture.operations, wanted, deadline)
    question = Question(target.position, wanted.element, [_name(leaf) for leaf in leaves], deadline)
    if time.monotonic() + _CHECK_SWEEPS * swept_seconds < deadline:
        checks = verify(subject, capture, question)
    else:
        checks = Checks(reason="No time was left to do it all once more in float64.")
    writer = PathWriter(found, labels(capture.nodes))
    rows = [_leaf(leaf, exact[leaf], listings.get(leaf), writer, checks.leaves.get(_name(leaf))) for leaf in leaves]
    value = (target.node.tensor_value() * target.cotangent).sum()
    answer = {
        "output": {
            "node": target.node.id,
            "name": target.name,
            "element": None if wanted.element is None else list(wanted.element),
            "of": "element" if wanted.element is not None else "value" if target.cotangent.ndim == 0 else "sum",
            "value": value_of(value),
        },
        "leaves": rows,
        "first_non_finite": _place(first_non_finite(found, capture.operations)),
        "replay": {
            "operations": len(found.follows),
            "products": found.replays.pulls,
            "max_abs_difference": number(found.replays.deviation),
        },
        "check": checks.summary(),
    }
    return answer, found


def _listings(
    found: Sweep, leaves: Sequence[Node], operations: Sequence[Operation], wanted: Wanted, deadline: float
) -> dict[Node, Listing]:
    """List paths leaf by leaf; what one leaf does not use of the budget is left to the next."""
    chosen = leaves if wanted.of is not None else leaves[:MAX_LISTED_LEAVES]
    begin = time.monotonic()
    until = begin + 0.5 * (deadline - begin)
    listings: dict[Node, Listing] = {}
    left = MAX_PULLS
    for index, leaf in enumerate(chosen):
        before = found.replays.pulls
        now = time.monotonic()
        share = now + (until - now) / (len(chosen) - index)
        listings[leaf] = list_paths(found, leaf, operations, Budget(wanted.limit, left // (len(chosen) - index), share))
        left -= found.replays.pulls - before
    return listings


def _autograd(target: Target, leaves: Sequence[Node]) -> dict[Node, torch.Tensor | None]:
    tensors = [leaf.tensor for leaf in leaves if leaf.tensor is not None]
    if target.node.tensor is None or not tensors:
        return {}
    found = gradients_of(target.node.tensor, tensors, target.cotangent)
    return dict(zip(leaves, found, strict=True))


def _leaf(
    leaf: Node, exact: torch.Tensor | None, listing: Listing | None, writer: PathWriter, check: Verified | None
) -> dict[str, Any]:
    zero = torch.zeros_like(leaf.tensor_value())
    return {
        "node": leaf.id,
        "name": leaf.name,
        "shape": list(zero.shape),
        "autograd": described(zero if exact is None else exact),
        "reached": exact is not None,
        "paths": writer.paths(leaf, listing),
        "check": check and check.document(),
    }


def _place(operation: Operation | None) -> dict[str, Any] | None:
    if operation is None:
        return None
    site = operation.site
    return {"operation": operation.id, "name": operation.name, "pointer": site.pointer, "source": site.source}


def _output_index(names: list[str], differentiable: list[bool], wanted: Wanted) -> int:
    if wanted.output is None:
        return differentiable.index(True) if True in differentiable else 0
    if isinstance(wanted.output, int):
        if not 0 <= wanted.output < len(names):
            detail = f"There are {len(names)} outputs, numbered from 0."
            raise _wrong("unknown_output", detail, "output", f"They are {', '.join(names)}.")
        return wanted.output
    if wanted.output not in names:
        hint = nearest_hint(wanted.output, names) or f"Outputs here are {', '.join(names)}."
        raise _wrong("unknown_output", f"There is no output {wanted.output[:80]!r}.", "output", hint)
    return names.index(wanted.output)


def _check_element(element: Sequence[int], shape: list[int]) -> None:
    fits = len(element) == len(shape) and all(0 <= index < size for index, size in zip(element, shape, strict=True))
    if not fits:
        raise _wrong("out_of_range", f"The output has the shape {shape}; {list(element)} is no element of it.",
                     "element", "Give one index for each dimension, from 0.")  # fmt: skip


def _name(leaf: Node) -> str:
    return leaf.name or leaf.id


def _wrong(code: str, detail: str, where: str, hint: str | None) -> InvalidRequest:
    return InvalidRequest([Problem(code, detail, f"/gradients/{where}", hint)])
