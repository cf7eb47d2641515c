"""Writes a recorded run as the document ``graph/1``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from services.definition import Definition
from services.modules.graph.backward import backward
from services.modules.graph.capture import Capture
from services.modules.graph.nodes import Node, Operation, Slot, nested, tensors_in
from services.modules.graph.path_document import labels
from services.modules.graph.values import MAX_VALUES, described, dtype_name, number, summary_of

FORMAT = "graph/1"
MAX_ELEMENTS = 100_000
"""Elements that one document writes out; what comes later is summarised."""
_MAX_TEXT = 200


def document(
    definition: Definition,
    capture: Capture,
    outputs: Mapping[str, Node],
    gradients: Mapping[Node, torch.Tensor],
    flows: Mapping[tuple[int, int], float],
    *,
    values: int,
) -> dict[str, Any]:
    """Return the graph.

    ``gradients`` are shown at the nodes that have one, ``flows`` at the inputs of operations, ``values`` bounds what
    is written out.
    """
    useful = _useful(capture, list(outputs.values()))
    budget = _Budget(values)
    called = labels(capture.nodes)
    first = first_non_finite(capture)
    return {
        "format": FORMAT,
        "nodes": [_node(node, called[node], gradients.get(node), budget) for node in capture.nodes],
        "operations": [_operation(one, flows, one in useful, one is first) for one in capture.operations],
        "modules": _modules(definition, capture),
        "loops": loop_rows(capture),
        "branches": branch_rows(capture),
        "decisions": [
            {"pointer": one.site.pointer, "node": one.node.id, "value": one.value} for one in capture.decisions
        ],
        "outputs": [node.id for node in outputs.values()],
        "output_names": list(outputs),
        "totals": {"nodes": len(capture.nodes), "operations": len(capture.operations) + capture.left_out},
        "first_non_finite": _non_finite(capture, first),
        "truncated": _truncated(capture),
        "backward": backward(capture, list(outputs.values())),
    }  # fmt: skip


def loop_rows(capture: Capture) -> list[dict[str, Any]]:
    """Return how often each loop turned: in all, and at each of its first entries."""
    return [
        {
            "pointer": pointer,
            "kind": loop.block.kind,
            "condition": loop.block.condition,
            "turns": loop.turns,
            "entries": loop.entries,
            "at_most": loop.block.at_most,
        }
        for pointer, loop in capture.frames.loops.items()
    ]


def branch_rows(capture: Capture) -> list[dict[str, Any]]:
    """Return which way each branch went, the first times one by one."""
    return [
        {"pointer": pointer, "condition": branch.block.condition, "taken": branch.taken, "counts": branch.counts}
        for pointer, branch in capture.frames.branches.items()
    ]


def name_outputs(definition: Definition, capture: Capture, result: object) -> dict[str, Node]:
    """Name what forward returned: as the definition does, else by key, by variable, or "y"."""
    tensors = tensors_in(result)
    declared: list[str] = list(definition.outputs)
    if isinstance(result, dict) and len(result) == len(tensors):
        declared = [str(key) for key in result]
    named: dict[str, Node] = {}
    for index, tensor in enumerate(tensors):
        node = capture.record.node_of(tensor)
        name = (
            declared[index] if len(declared) == len(tensors) else node.name or _fallback(index, len(tensors), capture)
        )
        while name in named:
            name = f"{name}'"
        named[name] = node
        if node.kind == "value":
            node.kind, node.name = "output", name
    return named


def first_non_finite(capture: Capture) -> Operation | None:
    """Return the first operation that made a NaN or an infinity of finite inputs, else the first NaN of infinities.

    What no data went into, such as a mask that is filled with -inf, was meant so: it counts as given.
    """
    bad = {node for node in capture.nodes if not _is_finite(node)}
    wrong = {node for node in bad if bool(node.tensor_value().isnan().any())}
    for found in (bad, wrong):
        for operation in capture.operations:
            made = operation.inputs and any(node in found for node in operation.outputs)
            if made and not any(node in found for node in operation.inputs):
                return operation
    return None


class _Budget:
    """Counts the elements that are written out."""

    def __init__(self, values: int) -> None:
        self.values = values
        self.left = MAX_ELEMENTS

    def describe(self, tensor: torch.Tensor) -> dict[str, Any]:
        """Return value, summary and norm within what is left."""
        limit = min(self.values, self.left)
        found = described(tensor, limit)
        self.left -= tensor.numel() if found["value"] is not None else 0
        return found


def _node(node: Node, label: str, gradient: torch.Tensor | None, budget: _Budget) -> dict[str, Any]:
    value = node.tensor_value()
    shown = budget.describe(value)
    python = node.tensor is None
    return {
        "id": node.id,
        "kind": node.kind,
        "name": node.name,
        "label": label,
        "shape": list(value.shape),
        "dtype": type(node.value).__name__ if python else dtype_name(value),
        "requires_grad": node.requires_grad,
        "leaf": node.leaf,
        "value": node.value if python and isinstance(node.value, int) else shown["value"],
        "summary": summary_of(value),
        "gradient": None if gradient is None else budget.describe(gradient),
        "shared_uses": node.uses,
    }


def _operation(
    operation: Operation, flows: Mapping[tuple[int, int], float], useful: bool, first: bool
) -> dict[str, Any]:
    site = operation.site
    return {
        "id": operation.id,
        "name": operation.name,
        "function": operation.title,
        "torch": operation.aten[-1] if operation.aten else None,
        "aten": operation.aten,
        "inputs": [node.id for node in operation.inputs],
        "outputs": [node.id for node in operation.outputs],
        "input_gradients": [_flow(flows.get((operation.number, slot))) for slot in range(len(operation.inputs))],
        "arguments": _arguments(operation),
        "module": operation.module,
        "call": operation.call,
        "pointer": site.pointer,
        "column": site.column,
        "line": site.line,
        "source": site.source,
        "loops": [{"pointer": pointer, "turn": turn} for pointer, turn in site.loops],
        "branches": [{"pointer": pointer, "taken": arm} for pointer, arm in site.branches],
        "backward": operation.backward,
        "in_place": operation.in_place,
        "random": operation.random_state is not None,
        "reaches_output": useful,
        "first_non_finite": first,
    }


def _flow(norm: float | None) -> float | int | str | None:
    return None if norm is None else number(norm)


def _arguments(operation: Operation) -> dict[str, Any]:
    """Return the settings of a call: arguments that are no data, by name or by position."""
    given = {str(index): value for index, value in enumerate(operation.arguments)} | operation.keywords
    return {
        name: _plain(value)
        for name, value in given.items()
        if not isinstance(value, Slot) and value is not None and not _only_slots(value)
    }


def _only_slots(value: object) -> bool:
    items = nested(value)
    return bool(items) and all(isinstance(item, Slot) or _only_slots(item) for item in items)


def _plain(value: Any) -> Any:  # noqa: ANN401 - settings of any function
    if isinstance(value, Slot):
        return {"input": value.position}
    if isinstance(value, slice) or value is Ellipsis:
        return _index_text(value)
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value[:MAX_VALUES]]
    if isinstance(value, bool | str | None):
        return value
    return number(value) if isinstance(value, int | float) else str(value).removeprefix("torch.")[:_MAX_TEXT]


def _index_text(value: Any) -> str:  # noqa: ANN401 - a slice or an ellipsis
    if value is Ellipsis:
        return "..."
    parts = ["" if part is None else str(part) for part in (value.start, value.stop, value.step)]
    return ":".join(parts[: 3 if parts[2] else 2])


def _modules(definition: Definition, capture: Capture) -> list[dict[str, Any]]:
    names: dict[int, int] = {}
    for _, module in capture.model.named_modules(remove_duplicate=False):
        names[id(module)] = names.get(id(module), 0) + 1
    return [
        _module(path, module, names[id(module)], definition, capture) for path, module in capture.model.named_modules()
    ]


def _module(path: str, module: nn.Module, names: int, definition: Definition, capture: Capture) -> dict[str, Any]:
    made = definition.tree.find(path)
    calls = capture.calls.get(path, 0)
    return {
        "path": path,
        "type": type(module).__name__,
        "parent": path.rpartition(".")[0] if path else None,
        "calls": calls,
        "shared": calls > 1 or names > 1,
        "parameters": sum(tensor.numel() for tensor in module.parameters()),
        "arguments": module.extra_repr(),
        "pointer": made.place.pointer if made is not None else None,
        "column": made.place.column if made is not None else None,
    }


def _fallback(index: int, total: int, capture: Capture) -> str:
    taken = {node.name for node in capture.nodes}
    name = "y" if "y" not in taken else "output"
    return name if total == 1 else f"{name}[{index}]"


def _useful(capture: Capture, outputs: list[Node]) -> set[Operation]:
    wanted = set(outputs)
    found: set[Operation] = set()
    for operation in reversed(capture.operations):
        if any(node in wanted for node in operation.outputs):
            found.add(operation)
            wanted.update(operation.inputs)
    return found


def _is_finite(node: Node) -> bool:
    value = node.tensor_value()
    return not (value.is_floating_point() or value.is_complex()) or bool(torch.isfinite(value).all())


def _non_finite(capture: Capture, first: Operation | None) -> dict[str, Any] | None:
    sources = [node for node in capture.nodes if node.producer is None or not node.producer.inputs]
    given = [node.id for node in sources if not _is_finite(node)]
    if first is None and not given:
        return None
    return {
        "operation": first.id if first else None,
        "name": first.name if first else None,
        "pointer": first.site.pointer if first else None,
        "source": first.site.source if first else None,
        "given": given,
    }


def _truncated(capture: Capture) -> dict[str, Any] | None:
    if not capture.left_out:
        return None
    kept = len(capture.operations)
    return {"operations": {"kept": kept, "left_out": capture.left_out}}
