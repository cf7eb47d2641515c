"""A captured graph as ``graph/1``: shapes but no values; branches and loop bodies are graphs in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx

from services.definition import Definition
from services.modules.build import Code

MAX_OPERATIONS = 5_000
"""Operations of one captured graph that are written out."""
_LINE = re.compile(r'File "(<definition [^"]+>)", line (\d+)')
_CHOICE = re.compile(r"^.*_choose\(\d+, (.*), _then_\d+, .*$")
"""How the static variant writes a branch."""
_KINDS = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "constant"}


def captured_graph(exported: torch.export.ExportedProgram, code: Code, definition: Definition) -> dict[str, Any]:
    """Return the graph of an exported program, with ``subgraphs`` by name and the ``code`` that torch prints of it."""
    names = {
        spec.arg.name: (_KINDS.get(spec.kind.name, "input"), spec.target or spec.arg.name)
        for spec in exported.graph_signature.input_specs
        if hasattr(spec.arg, "name")
    }
    module = exported.graph_module
    subgraphs = {
        name: _Writer(part, code, definition, {}).document()
        for name, part in module.named_modules()
        if name and isinstance(part, fx.GraphModule)
    }
    return {**_Writer(module, code, definition, names).document(), "subgraphs": subgraphs, "code": module.code.strip()}


def line_of(trace: str | None, code: Code) -> int | None:
    """Return the innermost line of the definition's own code in a trace that torch printed."""
    lines = [int(line) for name, line in _LINE.findall(trace or "") if name == code.filename]
    return lines[-1] if lines else None


def spot(code: Code, line: int | None) -> dict[str, Any]:
    """Return ``pointer``, ``column``, ``line`` and ``source`` of a line of the emitted code; None where not known."""
    if line is None:
        return {"pointer": None, "column": None, "line": None, "source": None}
    text = code.source_line(line)
    place = code.place_at(line, len(text) - len(text.lstrip()), line, len(text))
    return {
        "pointer": place.pointer if place else None,
        "column": place.column if place else None,
        "line": line,
        "source": _CHOICE.sub(r"if \1:", text.strip()),
    }


@dataclass(slots=True)
class _Writer:
    """Writes one graph module; a value that is several (of ``cond``) becomes one node for each part that is used."""

    module: fx.GraphModule
    code: Code
    definition: Definition
    names: Mapping[str, tuple[str, str]]
    nodes: list[dict[str, Any]] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)
    ids: dict[fx.Node, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        outputs: list[str] = []
        for node in self.module.graph.nodes:
            if node.op == "placeholder":
                self._node(node, *self.names.get(node.name, ("input", node.name)))
            elif node.op == "output":
                outputs = [self.ids[one] for one in node.all_input_nodes if one in self.ids]
            elif node.op in ("call_function", "call_method", "call_module"):
                self._operation(node)
        count = len(self.operations)
        return {
            "format": "graph/1",
            "nodes": self.nodes,
            "operations": self.operations[:MAX_OPERATIONS],
            "outputs": outputs,
            "totals": {"nodes": len(self.nodes), "operations": count},
            "truncated": {"operations": count - MAX_OPERATIONS} if count > MAX_OPERATIONS else None,
        }

    def _node(self, node: fx.Node, kind: str, name: str) -> None:
        value = node.meta.get("val", node.meta.get("example_value"))
        tensor = value if isinstance(value, Tensor) else None
        self.ids[node] = f"n{len(self.nodes)}"
        self.nodes.append(
            {
                "id": self.ids[node],
                "kind": kind,
                "name": name,
                "shape": [one if isinstance(one, int) else str(one) for one in tensor.shape]
                if tensor is not None
                else None,
                "dtype": type(value).__name__ if tensor is None else str(tensor.dtype).removeprefix("torch."),
                "value": None,
                "summary": None,
            }
        )

    def _operation(self, node: fx.Node) -> None:
        self._node(node, "value", node.name)
        path = _module_of(node)
        where = spot(self.code, line_of(node.meta.get("stack_trace"), self.code))
        layer = self.definition.tree.find(path) if path is not None and where["pointer"] is None else None
        if layer is not None:
            where |= {"pointer": layer.place.pointer, "column": layer.place.column}
        shown = [one for one in (*node.args, *node.kwargs.items()) if not isinstance(one, fx.Node)]
        parts = [str(one.target) for one in node.all_input_nodes if one.op == "get_attr"]
        self.operations.append(
            {
                "id": f"e{len(self.operations)}",
                "name": _short(node.target),
                "torch": str(node.target),
                "inputs": [self.ids[one] for one in node.all_input_nodes if one in self.ids],
                "outputs": [self.ids[node]],
                "arguments": {"values": [str(one)[:200] for one in shown if not _has_node(one)], "subgraphs": parts},
                "module": path,
                **where,
            }
        )


def _module_of(node: fx.Node) -> str | None:
    """Return the path of the module in whose forward an operation was recorded."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return None
    path = re.sub(r"\[['\"]?(\w+)['\"]?\]", r".\1", str(stack[-1][0]))
    return re.sub(r"^L\.self\.?|_modules\.", "", path).strip(".")


def _short(target: object) -> str:
    text = getattr(target, "__name__", str(target))
    return text.removeprefix("aten.").split(".", maxsplit=1)[0]


def _has_node(value: object) -> bool:
    if isinstance(value, tuple | list):
        return any(_has_node(one) for one in value)
    return isinstance(value, fx.Node)
