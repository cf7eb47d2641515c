"""The record of a run as it grows: which node each tensor is now, also after writes to memory that several share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from services.modules.graph.aten import storage_of
from services.modules.graph.nodes import Kind, Node, Operation, Site, Slot

Window = tuple[list[int], list[int], int]
"""Shape, strides and offset of a view of its base."""


class Record:
    """Nodes and operations in the order in which they came to be.

    A tensor is one node until something is written to its memory; then it is a new one. After a write to a view its
    base is a new node as well (operation ``write_back``), and other views are when they are used next (``view``).
    """

    def __init__(self, model: nn.Module, site: Callable[[], Site]) -> None:
        self.nodes: list[Node] = []
        self.operations: list[Operation] = []
        self.functions: dict[int, Operation] = {}
        """Identity of each node of autograd's graph → the operation that made it."""
        self._model = model
        self._site = site
        self._present: dict[int, Node] = {}
        self._by_storage: dict[int, list[Node]] = {}
        self._numbers: dict[tuple[object, ...], Node] = {}
        self._kept: list[Any] = []

    def add_data(self, tensor: torch.Tensor, kind: Kind, name: str | None) -> Node:
        """Make a node of what a tensor holds now."""
        node = Node(
            len(self.nodes), kind, name, tensor, tensor.detach(), tensor.requires_grad, tensor.is_leaf,
            version=tensor._version,
        )  # fmt: skip
        self.nodes.append(node)
        self._present[id(tensor)] = node
        self._by_storage.setdefault(storage_of(tensor), []).append(node)
        return node

    def find(self, tensor: torch.Tensor) -> Node | None:
        """Return the newest node of a tensor, if it has one."""
        return self._present.get(id(tensor))

    def node_of(self, tensor: torch.Tensor) -> Node:
        """Return the node of what a tensor holds now; one that nobody has seen is a constant."""
        found = self._present.get(id(tensor))
        if found is None:
            return self.add_data(tensor, "constant", self._attribute_name(tensor))
        return found if found.version == tensor._version else self._refreshed(tensor, found)

    def number(self, value: float) -> Node:
        """Return the node of a Python number; one that is written once is one node, however often it is used."""
        site = self._site()
        key = (type(value), value, site.pointer, site.line, site.column)
        if key not in self._numbers:
            node = Node(len(self.nodes), "constant", None, None, value, requires_grad=False, leaf=True)
            self.nodes.append(node)
            self._numbers[key] = node
        return self._numbers[key]

    def before_write(self, storage: int) -> None:
        """Give each node in this memory a copy of what it holds, for it is about to change."""
        for node in self._by_storage.pop(storage, ()):
            if isinstance(node.value, torch.Tensor):
                node.value = node.value.clone()

    def add_operation(self, operation: Operation, made: list[torch.Tensor]) -> None:
        """Add an operation with its ``results``; ``made`` are the tensors of what its function returned."""
        operation.number = len(self.operations)
        self.operations.append(operation)
        for node in operation.inputs:
            node.uses += 1
        written: list[torch.Tensor] = []
        for kind, index in operation.results:
            tensor = made[index] if kind == "result" else operation.inputs[index].tensor
            if tensor is not None:
                self._add_output(operation, tensor, operation.inputs[index].name if kind == "slot" else None)
                written += [tensor] if kind == "slot" else []
        for tensor in written:
            self._write_back(tensor)

    def _add_output(self, operation: Operation, tensor: torch.Tensor, name: str | None) -> None:
        node = self.add_data(tensor, "value", name)
        node.producer, node.position = operation, len(operation.outputs)
        operation.outputs.append(node)
        if tensor.grad_fn is not None:
            operation.backward = operation.backward or tensor.grad_fn.name()
            self._own_functions(tensor.grad_fn, operation)

    def _own_functions(self, begin: Any, operation: Operation) -> None:  # noqa: ANN401 - autograd's nodes have no type
        """Note which nodes of autograd's graph this operation made: those from its outputs up to what was there."""
        waiting = [begin]
        while waiting:
            function = waiting.pop()
            if function is None or id(function) in self.functions or hasattr(function, "variable"):
                continue
            self.functions[id(function)] = operation
            self._kept.append(function)
            waiting += [following for following, _ in function.next_functions]

    def _write_back(self, tensor: torch.Tensor) -> None:
        """After a write to a view, its base holds something new as well."""
        base = tensor._base
        if base is not None and id(base) in self._present:
            inputs = [self._present[id(base)], self._present[id(tensor)]]
            self._add_silent("write_back", _scattered, inputs, _window(tensor, base), base)
            self._present[id(base)].name = inputs[0].name

    def _refreshed(self, tensor: torch.Tensor, stale: Node) -> Node:
        """Return the node of a tensor that changed because another view of its memory was written to."""
        base = tensor._base
        if base is None or id(base) not in self._present:
            return self.add_data(tensor, "constant", stale.name)
        self._add_silent("view", _windowed, [self._present[id(base)]], _window(tensor, base), tensor)
        fresh = self._present[id(tensor)]
        fresh.name = stale.name
        return fresh

    def _add_silent(
        self, name: str, function: Callable[..., Any], inputs: list[Node], window: Window, tensor: torch.Tensor
    ) -> None:
        """Add an operation that nobody called: memory that is shared changed."""
        slots = tuple(Slot(position) for position in range(len(inputs)))
        operation = Operation(-1, name, None, function, (*slots, *window), {}, inputs, results=[("result", 0)])
        operation.site = self._site()
        self.add_operation(operation, [tensor])

    def _attribute_name(self, tensor: torch.Tensor) -> str | None:
        for path, module in self._model.named_modules():
            for name, value in vars(module).items():
                if value is tensor:
                    return f"{path}.{name}".lstrip(".")
        return None


def _window(view: torch.Tensor, base: torch.Tensor) -> Window:
    return list(view.shape), list(view.stride()), int(view.storage_offset()) - int(base.storage_offset())


def _scattered(base: torch.Tensor, part: torch.Tensor, shape: list[int], stride: list[int], at: int) -> torch.Tensor:
    # Not torch.as_strided_scatter: its backward keeps the part of the base that was overwritten (torch 2.13).
    whole = base.clone()
    whole.as_strided(shape, stride, at).copy_(part)
    return whole


def _windowed(base: torch.Tensor, shape: list[int], stride: list[int], at: int) -> torch.Tensor:
    return base.as_strided(shape, stride, at + int(base.storage_offset()))
