"""Records one forward as it runs: each call that the definition or a layer makes of torch is one operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from services.modules.build import Code
from services.modules.graph.aten import Aten, storage_of
from services.modules.graph.frames import Frames
from services.modules.graph.names import (
    full_name,
    is_reversed,
    may_make_data,
    numbers_are_data,
    short_name,
    writes_first,
)
from services.modules.graph.nodes import Decision, Node, Operation, Slot, nested, replaced, tensors_in
from services.modules.graph.record import Record

_MAX_PARTS = 64
_NORMALISATIONS = ("batch_norm", "instance_norm")
_STATISTICS = ("running_mean", "running_var")
"""What a normalisation in training writes to without its schema saying so."""


class Capture(TorchFunctionMode):
    """A context manager around one forward of ``model``.

    Functions of torch are seen where the definition (or a layer of torch) calls them, before they fall apart into
    what they are made of, so that the graph reads as the definition does.
    """

    def __init__(
        self, model: nn.Module, code: Code, inputs: Mapping[str, torch.Tensor | None], *, max_operations: int
    ) -> None:
        super().__init__()
        self.model = model
        self.left_out = 0
        """Calls beyond ``max_operations``; they run, and are only counted."""
        self.decisions: list[Decision] = []
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.stack: list[tuple[nn.Module, tuple[object, ...]]] = []
        self.calls: dict[str, int] = {}
        self.frames = Frames(code, self._bind)
        self.record = Record(model, self.frames.site)
        self._inputs = inputs
        self._max_operations = max_operations
        self._exit = ExitStack()

    @property
    def nodes(self) -> list[Node]:
        """All data, in the order in which it came to be."""
        return self.record.nodes

    @property
    def operations(self) -> list[Operation]:
        """All operations, in the order in which they ran."""
        return self.record.operations

    def __enter__(self) -> Capture:
        for name, tensor in self._inputs.items():
            if tensor is not None:
                self.record.add_data(tensor, "input", name)
        for name, parameter in self.model.named_parameters():
            self.record.add_data(parameter, "parameter", name)
        for name, buffer in self.model.named_buffers():
            self.record.add_data(buffer, "buffer", name)
        self._exit.callback(hooks.register_module_forward_pre_hook(self._enter_module).remove)
        self._exit.callback(hooks.register_module_forward_hook(self._leave_module).remove)
        self._exit.enter_context(self.frames)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: ANN401 - as the base class
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._exit.close()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,  # noqa: ANN401 - as the base class
        args: Sequence[Any] = (),
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401 - any function of torch
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") == "__bool__":
            self._decide(args[0])
        if not may_make_data(function):
            return function(*args, **kwargs)
        if len(self.operations) >= self._max_operations:
            self.left_out += 1
            return function(*args, **kwargs)
        return self._observe(function, tuple(args), kwargs)

    def _observe(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        operation = self._prepared(function, args, kwargs)
        versions = [None if node.tensor is None else node.tensor._version for node in operation.inputs]
        state = torch.get_rng_state()
        statistics = _statistics(operation)
        for position in statistics:
            self.record.before_write(storage_of(operation.inputs[position].tensor_value()))
        with Aten(self.record.before_write) as aten:
            result = function(*args, **kwargs)
        operation.aten = aten.names
        operation.random_state = state if aten.draws else None
        written = [
            position
            for position, (node, version) in enumerate(zip(operation.inputs, versions, strict=True))
            if node.tensor is not None and node.tensor._version != version
        ]
        self._finish(operation, result, _chosen(operation, written) + statistics)
        return result

    def _prepared(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        """Return the operation before its call: inputs found, arguments with slots in their places."""
        name = short_name(function)
        inputs: list[Node] = []
        data = numbers_are_data(name)
        index = args[1] if name == "set_index" else None

        def slot(value: Any) -> Any:  # noqa: ANN401 - any argument
            if isinstance(value, torch.Tensor):
                inputs.append(self.record.node_of(value))
            elif data and isinstance(value, int | float) and not isinstance(value, bool) and value is not index:
                inputs.append(self.record.number(value))
            else:
                return value
            return Slot(len(inputs) - 1)

        order = list(reversed(args)) if is_reversed(function) else list(args)
        arguments = [replaced(value, slot) for value in order]
        arguments = list(reversed(arguments)) if is_reversed(function) else arguments
        keywords = {key: replaced(value, slot) for key, value in kwargs.items()}
        return Operation(-1, name, full_name(function), function, tuple(arguments), keywords, inputs)

    def _finish(self, operation: Operation, result: Any, written: list[int]) -> None:  # noqa: ANN401
        made = tensors_in(result)
        given = {id(node.tensor) for node in operation.inputs}
        operation.results += [("slot", position) for position in dict.fromkeys(written)]
        operation.results += [("result", index) for index, tensor in enumerate(made) if id(tensor) not in given]
        if not operation.results:
            return  # a look at the data, or the same data handed back
        operation.site = self.frames.site()
        if self.stack:
            operation.module = self.paths.get(id(self.stack[-1][0]), "")
            operation.call = self.calls.get(operation.module, 0)
        self.record.add_operation(operation, made)

    def _decide(self, tensor: object) -> None:
        if isinstance(tensor, torch.Tensor) and tensor.numel() == 1:
            node = self.record.node_of(tensor)
            self.decisions.append(Decision(node, bool(tensor.detach()), self.frames.site()))

    def _bind(self, name: str, value: object) -> None:
        """Name what an assignment bound; a tuple's tensors get its name and their place."""
        if isinstance(value, torch.Tensor):
            self._name(value, name)
        elif isinstance(value, list | tuple | dict) and len(value) <= _MAX_PARTS:
            for key, item in zip(value if isinstance(value, dict) else range(len(value)), nested(value), strict=True):
                if isinstance(item, torch.Tensor):
                    self._name(item, f"{name}[{key!r}]")

    def _name(self, tensor: torch.Tensor, name: str) -> None:
        node = self.record.find(tensor)
        if node is not None and node.kind == "value" and (node.name is None or _in_place(node)):
            node.name = name

    def _enter_module(self, module: nn.Module, arguments: tuple[object, ...]) -> None:
        path = self.paths.get(id(module), "")
        self.calls[path] = self.calls.get(path, 0) + 1
        self.stack.append((module, arguments))

    def _leave_module(self, *_: object) -> None:
        self.stack.pop()


def _statistics(operation: Operation) -> list[int]:
    """Return the slots of running statistics that this call of a normalisation updates."""
    if operation.name not in _NORMALISATIONS:
        return []
    named = {**dict(zip(_STATISTICS, operation.arguments[1:3], strict=False)), **operation.keywords}
    if not named.get("training", named.get("use_input_stats", False)):
        return []
    return [slot.position for name in _STATISTICS if isinstance(slot := named.get(name), Slot)]


def _chosen(operation: Operation, written: list[int]) -> list[int]:
    """Return the slots that were written to: of several that share memory, the one that was meant."""
    if len(written) > 1 and writes_first(operation.name):
        return [position for position in written if operation.inputs[position] is operation.inputs[0]][:1]
    return written


def _in_place(node: Node) -> bool:
    return node.producer is not None and node.producer.in_place
