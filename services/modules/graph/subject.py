"""What is run to be recorded: a definition built with a seed, its inputs, and the state that each run begins from."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from services.definition import Definition
from services.definition.problems import Place
from services.errors import InvalidRequest, Problem
from services.modules.build import Code, compile_definition
from services.modules.emit import FACTORY
from services.modules.explain import Failure, Running, explain
from services.modules.graph.capture import Capture
from services.modules.preflight import MAX_REAL_BYTES, count_parameters
from services.modules.shortcuts import without_draws

_LEAF_WRITTEN = "leaf Variable that requires grad"
_PART_WRITTEN = "function that returns multiple views"
"""What torch says where a tensor cannot be written to since it, or what it is a part of, needs a gradient."""


@dataclass(slots=True)
class Subject:
    """A model with its inputs, ready to run; equal runs give equal results."""

    definition: Definition
    code: Code
    model: nn.Module
    inputs: dict[str, torch.Tensor | None]
    """In calling order; None stands for an optional one that was left out."""
    seed: int
    dtype: torch.dtype
    copies: bool = False
    """Whether forward gets copies of the inputs, since it writes to them."""
    _buffers: dict[str, torch.Tensor] = field(default_factory=dict)

    def capture(self, *, max_operations: int) -> tuple[Capture, object]:
        """Run forward once and return the record and what forward returned.

        Raises:
            InvalidRequest: forward fails; at the layer or statement that is to blame.
        """
        try:
            return self._captured(max_operations, again=True)
        except _WriteRefused:
            # A tensor that needs a gradient of its own cannot be written to; a copy of it can.
            self.copies = True
        try:
            return self._captured(max_operations, again=True)
        except _WriteRefused:
            # Nor can parts of one. In training inputs need no gradient: so here, where it must be.
            self.inputs = {name: None if one is None else one.detach() for name, one in self.inputs.items()}
        return self._captured(max_operations, again=False)

    def in_float64(self) -> Subject:
        """Return a copy in float64: the same weights, inputs and seed, and memory of its own."""
        self._restore()  # what a run left in the buffers may have a history, which cannot be copied
        model = copy.deepcopy(self.model).to(torch.float64)
        inputs = {
            name: one if one is None or not one.is_floating_point() else _twin(one) for name, one in self.inputs.items()
        }
        buffers = {name: kept.double() if kept.is_floating_point() else kept for name, kept in self._buffers.items()}
        return Subject(self.definition, self.code, model, inputs, self.seed, torch.float64, self.copies, buffers)

    def call(self, inputs: Mapping[str, torch.Tensor | None]) -> object:
        """Run forward on other values, from the same state and seed."""
        self._restore()
        with _default_dtype(self.dtype):
            return self.model(*_given({name: None if one is None else one.clone() for name, one in inputs.items()}))

    def _captured(self, max_operations: int, *, again: bool) -> tuple[Capture, object]:
        self._restore()
        inputs = {name: None if one is None else _fresh(one) for name, one in self.inputs.items()}
        capture = Capture(self.model, self.code, inputs, max_operations=max_operations)
        failing = explained(self.definition, self.code, "forward", capture, again=again)
        with failing, _default_dtype(self.dtype), capture:
            result = self.model(*_given({name: self._copied(tensor) for name, tensor in inputs.items()}))
        return capture, result

    def _copied(self, tensor: torch.Tensor | None) -> torch.Tensor | None:
        return tensor.clone() if self.copies and tensor is not None and tensor.requires_grad else tensor

    def _restore(self) -> None:
        """Give the buffers what they held before the first run, and the generator its seed."""
        for path, kept in self._buffers.items():
            owner, _, name = path.rpartition(".")
            self.model.get_submodule(owner)._buffers[name] = kept.clone()
        torch.manual_seed(self.seed)


def build_subject(
    definition: Definition,
    make_inputs: Mapping[str, torch.Tensor | None],
    *,
    weights: Mapping[str, torch.Tensor] | None,
    training: bool,
    seed: int,
    dtype: torch.dtype,
    max_parameters: int | None,
) -> Subject:
    """Build the model as a job would (same seed, same weights), then bring it and its inputs to ``dtype``.

    Raises:
        InvalidRequest: it cannot be built, is too large, or the weights are another model's.
    """
    code = compile_definition(definition)
    with explained(definition, code, "build", None), torch.device("meta"), without_draws():
        outline = code.namespace[FACTORY]()
    _check_size(outline, max_parameters)
    torch.manual_seed(seed)
    with explained(definition, code, "build", None):
        model = code.namespace[FACTORY]()
    if weights is not None:
        model.load_state_dict(weights)
    model.train(training)
    if dtype != torch.float32:
        model.to(dtype)
    inputs = {name: _leaf(tensor, dtype) for name, tensor in make_inputs.items()}
    buffers = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    return Subject(definition, code, model, inputs, seed, dtype, _buffers=buffers)


@contextmanager
def explained(
    definition: Definition, code: Code, stage: str, calls: Running | None, *, again: bool = False
) -> Iterator[None]:
    """Turn whatever torch raises into a problem at the layer or statement that is to blame.

    With ``again``, a write that torch refuses is raised as such: the caller tries in another way.
    """
    try:
        yield
    except (InvalidRequest, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - the client's model may raise anything
        if again and any(words in str(error) for words in (_LEAF_WRITTEN, _PART_WRITTEN)):
            raise _WriteRefused from None
        raise InvalidRequest([explain(Failure(error, definition, code, stage, calls), Place(""))]) from None


class _WriteRefused(Exception):
    """Forward writes to a tensor that needs a gradient of its own, or to a part of one."""


def _check_size(outline: nn.Module, limit: int | None) -> None:
    total = count_parameters(outline)["total"]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in [*outline.parameters(), *outline.buffers()])
    if limit is not None and total > limit:
        detail = f"This model has {total:,} parameters; at most {limit:,} are allowed."
        raise InvalidRequest([Problem("model_too_large", detail, "", "Make its layers smaller.")])
    if weights > MAX_REAL_BYTES:
        detail = f"A graph is recorded from a real run; {weights:,} bytes of weights are too many for it."
        hint = f"At most {MAX_REAL_BYTES:,} bytes: make its layers smaller."
        raise InvalidRequest([Problem("model_too_large", detail, "", hint)])


def _leaf(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    if tensor is None or not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype) if tensor.dtype in (torch.float32, torch.float64) else tensor
    return cast.detach().clone().requires_grad_()


def _fresh(tensor: torch.Tensor) -> torch.Tensor:
    """Return a leaf of one run's own, which it may write to."""
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)


def _twin(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(torch.float64, copy=True).requires_grad_(tensor.requires_grad)


def _given(inputs: Mapping[str, torch.Tensor | None]) -> list[Any]:
    """Return the inputs in order, without the optional ones at the end that were left out."""
    given = list(inputs.values())
    while given and given[-1] is None:
        given.pop()
    return given


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
