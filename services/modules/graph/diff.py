"""Compares runs of one definition: turns of loops, branches taken, operations that only some of them had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from services.definition import Definition, check
from services.errors import InvalidRequest
from services.modules.graph.capture import Capture
from services.modules.graph.document import branch_rows, first_non_finite, loop_rows, name_outputs
from services.modules.graph.nodes import Node, Operation
from services.modules.graph.run import below, make_subject
from services.modules.graph.values import described, dtype_name
from services.modules.preflight import Channel

FORMAT = "graph_diff/1"
MAX_ROWS = 500
"""Places whose operations differ that one answer lists."""

Place = tuple[str | None, int | None, str, str]
"""Pointer, column, name and module of an operation: what makes it the same one in two runs."""


@dataclass(slots=True)
class _Run:
    """One record, and what is compared of it."""

    name: str
    capture: Capture
    outputs: Mapping[str, Node]
    operations: Counter[Place]


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Emit ``{"report": graph_diff/1}`` or ``{"problems": […]}``."""
    torch.set_num_threads(1)
    try:
        definition = check(payload["document"])
        channel.emit({"report": diff(definition, payload)})
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
    return 0


def diff(definition: Definition, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return each run's totals and in what they differ.

    Args:
        definition: a checked definition.
        request: as for `graph`, but for ``runs``: each with a ``name`` and ``inputs`` (or ``builtin`` rows).

    Raises:
        InvalidRequest: a run fails.
    """
    runs = [_one(definition, request, given) for given in request["runs"]]
    differences = {
        "loops": _loops(runs),
        "branches": _branches(runs),
        "operations": _operations(runs),
        "modules": _modules(runs),
    }
    return {
        "format": FORMAT,
        "runs": [_row(one, request["values"]) for one in runs],
        "same": not any(differences.values()),
        "differences": differences,
    }


def _one(definition: Definition, request: Mapping[str, Any], given: Mapping[str, Any]) -> _Run:
    with below(request["pointer"]):
        subject = make_subject(definition, request, given)
        capture, result = subject.capture(max_operations=request["operations"])
    counts = Counter(_place(operation) for operation in capture.operations)
    return _Run(given["name"], capture, name_outputs(definition, capture, result), counts)


def _place(operation: Operation) -> Place:
    return operation.site.pointer, operation.site.column, operation.name, operation.module


def _row(one: _Run, values: int) -> dict[str, Any]:
    capture = one.capture
    first = first_non_finite(capture)
    inputs = [node for node in capture.nodes if node.kind == "input"]
    return {
        "name": one.name,
        "inputs": {str(node.name): _data(node, values) for node in inputs},
        "outputs": {name: _data(node, values) for name, node in one.outputs.items()},
        "totals": {"nodes": len(capture.nodes), "operations": len(capture.operations) + capture.left_out},
        "loops": loop_rows(capture),
        "branches": branch_rows(capture),
        "first_non_finite": first.id if first else None,
        "truncated": bool(capture.left_out),
    }


def _data(node: Node, values: int) -> dict[str, Any]:
    value = node.tensor_value()
    return {"shape": list(value.shape), "dtype": dtype_name(value), **described(value, values)}


def _loops(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    blocks = {pointer: loop.block for one in runs for pointer, loop in one.capture.frames.loops.items()}
    rows = []
    for pointer, block in blocks.items():
        found = [one.capture.frames.loops.get(pointer) for one in runs]
        turns = [loop.turns if loop else 0 for loop in found]
        entered = [loop.entered if loop else 0 for loop in found]
        if len(set(turns)) > 1 or len(set(entered)) > 1:
            rows.append(
                {"pointer": pointer, "kind": block.kind, "condition": block.condition, "turns": turns,
                 "entered": entered}
            )  # fmt: skip
    return rows


def _branches(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    blocks = {pointer: branch.block for one in runs for pointer, branch in one.capture.frames.branches.items()}
    rows = []
    for pointer, block in blocks.items():
        found = [one.capture.frames.branches.get(pointer) for one in runs]
        taken = [branch.taken if branch else [] for branch in found]
        counts = [branch.counts if branch else {} for branch in found]
        if any(one != taken[0] for one in taken) or any(one != counts[0] for one in counts):
            rows.append({"pointer": pointer, "condition": block.condition, "taken": taken, "counts": counts})
    return rows


def _operations(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    """Return the places whose operations ran a different number of times, in the order in which they first ran."""
    examples: dict[Place, Operation] = {}
    for one in runs:
        for operation in one.capture.operations:
            examples.setdefault(_place(operation), operation)
    rows = []
    for place, operation in examples.items():
        counts = [one.operations[place] for one in runs]
        if len(set(counts)) > 1:
            only = [one.name for one, count in zip(runs, counts, strict=True) if count]
            rows.append(
                {
                    "name": operation.name,
                    "module": operation.module,
                    "pointer": operation.site.pointer,
                    "column": operation.site.column,
                    "source": operation.site.source,
                    "counts": counts,
                    "only_in": only if len(only) < len(runs) else None,
                }
            )
    return rows[:MAX_ROWS]


def _modules(runs: Sequence[_Run]) -> list[dict[str, Any]]:
    paths = dict.fromkeys(path for one in runs for path in one.capture.calls)
    rows = [(path, [one.capture.calls.get(path, 0) for one in runs]) for path in paths]
    return [{"path": path, "calls": calls} for path, calls in rows if len(set(calls)) > 1]
