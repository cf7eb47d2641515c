"""A trained model in the formats of others: ``torch``, ``onnx`` and ``torch-export``, each measured against eager.

Runs inside a sandboxed child. The module is in eval mode; the batch, and every dimension that is declared free, stays
free where the exporter can keep it so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from services.definition import check
from services.errors import InvalidRequest, Problem
from services.modules.build import build
from services.modules.export_trial import Difference, Trial, flatten, trials
from services.modules.graph.weights import read_weights
from services.modules.preflight import Channel

FORMATS = ("torch", "onnx", "torch-export")
_POINTER = "/format"
_MAX_REASON_CHARACTERS = 300
Call = Callable[[Sequence[Tensor]], list[Tensor]]
"""Runs what was written, on the given inputs."""


def run(payload: dict[str, Any], channel: Channel) -> int:
    """Write ``payload["path"]`` and emit ``{"report": …}`` or ``{"problems": […]}``."""
    torch.set_num_threads(1)
    try:
        channel.emit({"report": export(payload)})
    except InvalidRequest as error:
        channel.emit({"problems": [problem.to_dict() for problem in error.problems]})
    return 0


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write a model with its weights to a file and return what is known of it.

    Args:
        request: ``document``, ``weights`` (path of the safetensors file), ``format``, ``path`` (of the file to write),
            ``inputs`` ({name: {"dtype", "shape" with free names, "classes"?}}, in calling order).

    Returns:
        ``{"format", "free_sizes": [names], "fixed_sizes": {name: size}, "inputs", "outputs", "versions",
        "difference": {"max_abs", "max_rel", "batches"} | None}``; the difference is to eager, over all trials.

    Raises:
        InvalidRequest: ``not_exportable``, with the exporter's reason.
    """
    module = build(check(request["document"]))
    module.load_state_dict(read_weights(request["weights"]))
    module.eval()
    path, sizes = Path(request["path"]), list(trials(request["inputs"]))
    if request["format"] == "torch":
        # Written here, never read here: what a user loads is the product of our own process.
        torch.save(module.state_dict(), path)
        return _report(request, module, sizes, free=_free_names(request["inputs"]), difference=None)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program, free = _capture(module, sizes[0], request["inputs"])
        call = _write_onnx(program, path, request) if request["format"] == "onnx" else _write_program(program, path)
        usable = sizes if free else sizes[:1]
        difference = Difference()
        for trial in usable:
            difference.add(flatten(module(*trial.inputs)), call(trial.inputs))
    return _report(request, module, usable, free=free, difference=difference)


def _capture(
    module: nn.Module, trial: Trial, inputs: Mapping[str, Mapping[str, Any]]
) -> tuple[torch.export.ExportedProgram, list[str]]:
    """Capture with free sizes, else with those of the trial; return the program and the names that stayed free."""
    free = _free_names(inputs)
    shapes = tuple(_dynamic(one["shape"]) for one in inputs.values())
    reason: Exception | None = None
    for wanted in (shapes, None) if free else (None,):
        try:
            return torch.export.export(module, tuple(trial.inputs), dynamic_shapes=wanted, strict=False), (
                free if wanted else []
            )
        except Exception as error:  # noqa: BLE001 - the exporter may raise anything; the first reason is the better one
            reason = reason or error
    raise _refused("torch.export", reason)


def _dynamic(shape: Sequence[int | str]) -> dict[int, Any]:
    return {index: torch.export.Dim.AUTO for index, size in enumerate(shape) if isinstance(size, str)}


def _write_program(program: torch.export.ExportedProgram, path: Path) -> Call:
    torch.export.save(program, path)
    module = torch.export.load(path).module()
    return lambda inputs: flatten(module(*inputs))


def _write_onnx(program: torch.export.ExportedProgram, path: Path, request: Mapping[str, Any]) -> Call:
    import onnxruntime  # noqa: PLC0415 - a second of imports that only this format needs

    try:
        exported = torch.onnx.export(program, input_names=list(request["inputs"]), dynamo=True, verbose=False)
        if exported is None:
            raise TypeError("the exporter returned no program")
        exported.save(path, external_data=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the exporter may raise anything
        raise _refused("ONNX", error) from None
    names = [one.name for one in session.get_inputs()]

    def call(inputs: Sequence[Tensor]) -> list[Tensor]:
        given = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=False)}
        return [torch.from_numpy(value) for value in session.run(None, given)]

    return call


def _report(
    request: Mapping[str, Any],
    module: nn.Module,
    sizes: Sequence[Trial],
    *,
    free: Sequence[str],
    difference: Difference | None,
) -> dict[str, Any]:
    outputs = flatten(module(*sizes[0].inputs))
    return {
        "format": request["format"],
        "free_sizes": list(free),
        "fixed_sizes": {} if free else sizes[0].sizes,
        "inputs": {
            name: {"dtype": one["dtype"], "shape": list(one["shape"])} for name, one in request["inputs"].items()
        },
        "outputs": [{"dtype": str(one.dtype).removeprefix("torch."), "shape": list(one.shape)} for one in outputs],
        "versions": {"torch": torch.__version__},
        "difference": difference.to_dict() if difference else None,
    }


def _free_names(inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(size for one in inputs.values() for size in one["shape"] if isinstance(size, str)))


def _refused(exporter: str, error: Exception | None) -> InvalidRequest:
    text = str(error).strip() or type(error).__name__
    reason = text.splitlines()[0][:_MAX_REASON_CHARACTERS]
    hint = "A branch or loop that depends on data cannot be exported; safetensors and the Python source always can."
    return InvalidRequest(
        [Problem("not_exportable", f"{exporter} cannot express this model: {reason}", _POINTER, hint)]
    )
