"""Watches one forward: which module is called with which shapes, what autograd keeps, how many operations run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.utils.flop_counter import FlopCounterMode

from services.definition import Definition
from services.modules.shortcuts import Counters, Repeats, Run
from services.modules.tensors import tensors_in

MAX_CALLS = 10_000
Shapes = list[list[int]]


class Recorder(Counters):
    """A context manager around one forward."""

    def __init__(self, model: nn.Module, repeats: Repeats | None = None) -> None:
        self.model = model
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.calls: list[tuple[str, nn.Module, Shapes, Shapes]] = []
        self.stack: list[tuple[nn.Module, tuple[object, ...]]] = []
        """Modules whose forward has begun and not ended; after a failure the last one failed."""
        self.saved_bytes = 0
        self.operations = 0
        self.on_meta = any(t.is_meta for t in [*model.parameters(), *model.buffers()]) or not self.paths
        self._seen: dict[int, torch.Tensor] = {}
        self._own = {_storage(tensor) for tensor in [*model.parameters(), *model.buffers()]}
        self._counter = FlopCounterMode(display=False)
        self._exit = ExitStack()
        self._repeats = repeats
        self._replayed = 0

    def __enter__(self) -> Recorder:
        before = hooks.register_module_forward_pre_hook(self._before)
        after = hooks.register_module_forward_hook(self._after)
        self._exit.callback(before.remove)
        self._exit.callback(after.remove)
        self._exit.enter_context(torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor))
        self._exit.enter_context(self._counter)
        if self._repeats is not None:
            self._exit.enter_context(self._repeats.patched(self.model, self))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()
        self.operations = self._replayed + int(self._counter.get_total_flops())

    def mark(self) -> tuple[int, int, int]:
        """Return the present counts: calls, kept bytes, operations."""
        return len(self.calls), self.saved_bytes, self._replayed + int(self._counter.get_total_flops())

    def since(self, before: tuple[int, int, int], outputs: object, path: str) -> Run:
        """Return what happened since ``before``, with paths relative to ``path``."""
        calls = [(where[len(path) :], *rest) for where, *rest in self.calls[before[0] :]]
        operations = self._replayed + int(self._counter.get_total_flops()) - before[2]
        return Run(outputs, calls, self.saved_bytes - before[1], operations)

    def replay(self, run: Run, path: str) -> None:
        """Count a run again, at another path."""
        room = max(MAX_CALLS - len(self.calls), 0)
        self.calls += [(path + where, *rest) for where, *rest in run.calls[:room]]
        self.saved_bytes += run.saved_bytes
        self._replayed += run.operations

    def _before(self, module: nn.Module, arguments: tuple[object, ...]) -> None:
        self.stack.append((module, arguments))
        self.on_meta = self.on_meta or any(isinstance(a, torch.Tensor) and a.is_meta for a in arguments)

    def _after(self, module: nn.Module, arguments: tuple[object, ...], result: object) -> None:
        self.stack.pop()
        if len(self.calls) < MAX_CALLS:
            self.calls.append((self.paths.get(id(module), ""), module, shapes(arguments), shapes(result)))

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        key = _storage(tensor)
        if key not in self._seen and key not in self._own:
            self._seen[key] = tensor  # held, so that no later storage gets the same address
            self.saved_bytes += tensor.numel() * tensor.element_size()
        return tensor

    def layers(self, definition: Definition, *, batch: int) -> list[dict[str, Any]]:
        """Return one row for each call, in the order in which they ended; a first size of ``batch`` is written "B"."""
        rows = []
        for path, module, inputs, outputs in self.calls:
            node = definition.tree.find(path)
            own = sum(t.numel() for t in module.parameters(recurse=False))
            row = {
                "path": path,
                "type": type(module).__name__,
                "input_shapes": [batch_first(shape, batch) for shape in inputs],
                "output_shapes": [batch_first(shape, batch) for shape in outputs],
                "parameters": own,
            }
            rows.append(row | ({"pointer": node.place.pointer} if node is not None else {}))
        return rows


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def batch_first(shape: Sequence[int], batch: int) -> list[int | str]:
    """Return a shape with its first size written "B" where that is the trial batch's."""
    return ["B", *shape[1:]] if shape and shape[0] == batch else list(shape)


def shapes(value: object) -> Shapes:
    """Return the shapes of the tensors in a value, nested ones included."""
    return [list(tensor.shape) for tensor in tensors_in(value)]
