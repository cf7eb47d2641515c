"""Runs a definition once without its data: shapes at every call, parameters, memory, operations, or what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from services.definition import Definition, check
from services.definition.problems import Place
from services.errors import InvalidRequest, Problem
from services.modules.build import Code, compile_definition
from services.modules.data.transforms_trial import try_transforms
from services.modules.emit import FACTORY
from services.modules.explain import Failure, explain
from services.modules.objective_trial import try_objective
from services.modules.record import Recorder, batch_first
from services.modules.samples import sample_inputs
from services.modules.shortcuts import Repeats, quick_layers, without_draws
from services.modules.tensors import tensor_rows, tensors_in
from services.training.memory import training_memory

BATCH = 2
"""Samples in the trial batch: one would be refused by batch normalisation."""
_ASSUMED: dict[str, Any] = {"training": {"optimizer": {"type": "Adam"}}, "batch_size": 1}
"""What the report on memory assumes; who knows the plan asks ``training_memory`` again."""
MAX_REAL_BYTES = 2 << 30
"""A model that needs real numbers in preflight (a branch that depends on data) may have weights of this size."""
_NEEDS_DATA = (
    "meta tensors",
    "data-dependent",
    "Meta device",
    "'aten::_local_scalar_dense'",
    "meta tensor",
    "is_nonzero",
)


class Channel(Protocol):
    """How a forked child reports."""

    def emit(self, event: dict[str, Any]) -> None:
        """Send one event."""


def preflight(
    definition: Definition,
    inputs: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    max_parameters: int | None = None,
    objective: Mapping[str, Any] | None = None,
    pointer: str = "",
) -> dict[str, Any]:
    """Return the report of one trial forward (and of the memory that its backward would hold).

    ``inputs`` maps input names to ``{"dtype", "shape"}``, shapes as in the language (names such as "B" are free
    sizes); without it the document's own ``inputs`` are used, and without those no forward is tried. ``objective`` has
    loss and metrics (see `try_objective`), which are then tried on what forward returns.

    Raises:
        InvalidRequest: ``model_too_large``, ``shape_mismatch``, ``invalid_argument`` and their like.
    """
    code = compile_definition(definition)
    with _explained(definition, code, pointer, stage="build"), torch.device("meta"), without_draws():
        model = code.namespace[FACTORY]()
    parameters = count_parameters(model)
    _check_quota(parameters["total"], max_parameters, pointer)
    report: dict[str, Any] = {
        "parameters": parameters,
        "tensors": tensor_rows(model),
        "layers": [],
        "memory_bytes": memory_bytes(model, 0),
        "operations_per_sample": None,
        "outputs": [],
    }
    specifications = inputs if inputs else _own_inputs(definition)
    if specifications:
        report.update(_trial(definition, code, model, specifications, pointer, objective=objective))
    return report


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count the elements of all parameters, shared ones once."""
    tensors = list(model.parameters())
    return {"total": sum(t.numel() for t in tensors), "trainable": sum(t.numel() for t in tensors if t.requires_grad)}


def memory_bytes(model: nn.Module, activations: int) -> dict[str, Any]:
    """Return what one training step holds, with ``activations`` bytes kept for each sample."""
    own = {
        "weights": _bytes(model.parameters()),
        "buffers": _bytes(model.buffers()),
        "gradients": _bytes(t for t in model.parameters() if t.requires_grad),
        "activations_per_sample": activations,
    }
    return training_memory(own, **_ASSUMED)


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _check_quota(total: int, limit: int | None, pointer: str) -> None:
    if limit is not None and total > limit:
        detail = f"This model has {total:,} parameters; at most {limit:,} are allowed."
        raise InvalidRequest([Problem("model_too_large", detail, pointer, "Make its layers smaller.")])


def _own_inputs(definition: Definition) -> dict[str, dict[str, Any]]:
    known = [one for one in definition.inputs if one.shape is not None]
    if len(known) < len(definition.inputs):
        return {}
    return {one.name: {"dtype": one.dtype, "shape": list(one.shape or ())} for one in known}


def _trial(
    definition: Definition,
    code: Code,
    model: nn.Module,
    inputs: Mapping[str, Mapping[str, Any]],
    pointer: str,
    *,
    objective: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Run forward on the meta device; with one small real batch where a branch asks for numbers."""
    try:
        with torch.device("meta"), quick_layers():
            recorder, result = _forward(definition, code, model, inputs, pointer, device="meta")
    except _NeedsData:
        weights = _bytes([*model.parameters(), *model.buffers()])
        if weights > MAX_REAL_BYTES:
            detail = (
                f"A branch of this model depends on data, and its {weights:,} bytes of weights are too many to try."
            )
            raise InvalidRequest([Problem("model_too_large", detail, pointer)]) from None
        with _explained(definition, code, pointer, stage="build"):
            model = code.namespace[FACTORY]()
        recorder, result = _forward(definition, code, model, inputs, pointer, device="cpu")
    return {
        "layers": recorder.layers(definition, batch=BATCH),
        "memory_bytes": memory_bytes(model, math.ceil(recorder.saved_bytes / BATCH)),
        "operations_per_sample": recorder.operations // BATCH,
        "outputs": describe_outputs(result),
        "objective": _objective(objective, definition, model, result) if objective else None,
    }


def _objective(
    objective: Mapping[str, Any], definition: Definition, model: nn.Module, result: object
) -> dict[str, Any]:
    """Try transforms, loss and metrics; that a model has nothing to train is said elsewhere."""
    trains = any(parameter.requires_grad for parameter in model.parameters())
    try_transforms(objective.get("images", {}))
    return try_objective(objective, definition.outputs, result, batch=BATCH, trains=trains)


class _NeedsData(Exception):
    """The forward reads the value of a tensor."""


def _forward(
    definition: Definition,
    code: Code,
    model: nn.Module,
    inputs: Mapping[str, Mapping[str, Any]],
    pointer: str,
    *,
    device: str,
) -> tuple[Recorder, object]:
    tensors = sample_inputs(inputs, batch=BATCH, device=device)
    recorder = Recorder(model, Repeats(definition.tree) if device == "meta" else None)
    explained = _explained(definition, code, pointer, stage="forward", recorder=recorder)
    with torch.random.fork_rng(devices=[]), explained, recorder:
        result = model(*tensors)
    return recorder, result


def describe_outputs(result: object) -> list[dict[str, Any]]:
    """Return dtype and shape of every tensor that forward returns, the batch written "B"."""
    return [
        {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": batch_first(tensor.shape, BATCH)}
        for tensor in tensors_in(result)
    ]


@contextmanager
def _explained(
    definition: Definition, code: Code, pointer: str, *, stage: str, recorder: Recorder | None = None
) -> Iterator[None]:
    """Turn whatever torch raises into a problem at the layer or statement that is to blame."""
    try:
        yield
    except InvalidRequest:
        raise
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the client's model may raise anything
        text = str(error)
        if stage == "forward" and recorder is not None and recorder.on_meta and _asks_for_data(error, text):
            raise _NeedsData from None
        failure = Failure(error, definition, code, stage, recorder)
        raise InvalidRequest([explain(failure, Place(pointer))]) from None


def _asks_for_data(error: Exception, text: str) -> bool:
    return isinstance(error, NotImplementedError) or any(word in text for word in _NEEDS_DATA)


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Check one document inside a sandboxed child: emits ``{"report": …}`` or ``{"problems": […]}``."""
    torch.set_num_threads(1)
    try:
        definition = check(payload["document"], pointer=payload.get("pointer", ""))
        report = preflight(
            definition,
            payload.get("inputs"),
            max_parameters=payload.get("max_parameters"),
            objective=payload.get("objective"),
            pointer=payload.get("pointer", ""),
        )
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
        return 0
    channel.emit({"report": report})
    return 0


Target = Callable[[dict[str, Any], Channel], int]
