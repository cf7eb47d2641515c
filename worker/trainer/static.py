"""``execution: "static"``: the model's forward captured as one graph before the first step, and checked against it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from services.definition import Definition
from services.errors import TrainingFailure, user_failure
from services.forkserver.isolation import forbid_processes
from services.modules.data.parts import Batch
from services.modules.static.backend import Compiled, compile_model
from services.modules.static.build import Variant, static_variant
from services.modules.static.pair import difference, tensors, zero_for_none
from services.modules.static.reasons import break_of
from worker.trainer.control import Line
from worker.trainer.environment import random_state, restore_random_state
from worker.trainer.job import Job
from worker.trainer.loop import Trainer
from worker.trainer.static_twin import static_twin

TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bf16": 3e-2, "fp16": 1e-2}
"""How far outputs and gradients of the graph may lie from the model's, as a share of the largest one (at least 1)."""
Forward = Callable[..., Any]


def choose_forward(trainer: Trainer, definition: Definition, job: Job, line: Line) -> Forward:
    """Return what is called in training: the captured graph or the model itself; an ``execution`` event says which.

    Every batch size that the run will meet is captured now, so that nothing depends on which one came first, and a
    resumed run computes what the first one did. Weights, buffers and random generators are left as they were.

    Raises:
        TrainingFailure: ``not_capturable`` or ``static_differs``, unless the plan allows to train dynamically.
    """
    if job.training["execution"] != "static":
        return trainer.model
    line.emit({"event": "phase", "phase": "compiling"})
    _prepare_compiler(job, trainer.device)
    began = time.monotonic()
    try:
        compiled, gap = _capture(trainer, definition, job.training["precision"])
    except TrainingFailure as failure:
        if job.training["execution_fallback"] != "dynamic":
            raise
        line.emit(_event("dynamic", seconds=time.monotonic() - began, reason=failure))
        return trainer.model
    if trainer.device.type == "cuda":
        forbid_processes()  # the compiler has run; from here on there is only the job's own work
    sizes = sorted(trainer.windows.batches.sizes())
    seconds = time.monotonic() - began
    line.emit(
        _event("static", seconds=seconds, backend=compiled.backends[0], batch_sizes=sizes, max_abs_difference=gap)
    )
    return _Guarded(trainer.model, compiled, job.training["execution_fallback"], line)


class _Guarded:
    """Calls the captured graph; a batch that does not fit it fails, or is the beginning of dynamic execution."""

    def __init__(self, model: nn.Module, compiled: Compiled, fallback: str, line: Line) -> None:
        self._model = model
        self._call: Forward = torch.compiler.set_stance("fail_on_recompile")(compiled.call)
        self._fallback = fallback
        self._line = line

    def __call__(self, *inputs: Tensor) -> Any:  # noqa: ANN401 - whatever forward returns
        try:
            return self._call(*inputs)
        except RuntimeError as error:
            if "fail_on_recompile" not in str(error):
                raise
            failure = _does_not_fit(error)
            if self._fallback != "dynamic":
                raise failure from None
        self._line.emit(_event("dynamic", reason=failure))
        self._call = self._model
        return self._model(*inputs)


def _capture(trainer: Trainer, definition: Definition, precision: str) -> tuple[Compiled, float]:
    """Capture every batch size; return the compiled model and the largest absolute difference that was seen."""
    variant = static_variant(definition)
    torch._dynamo.reset()
    compiled = compile_model(static_twin(trainer.model, variant), device=trainer.device.type)
    gaps = [
        _compare(trainer, compiled, next(trainer.parts["train"].batches(size)), variant, precision)
        for size in sorted(trainer.windows.batches.sizes(), reverse=True)
    ]
    return compiled, max(gaps)


def _compare(trainer: Trainer, compiled: Compiled, batch: Batch, variant: Variant, precision: str) -> float:
    wanted = _trial(trainer, trainer.model, batch)  # a model that fails fails as it would at its first step
    try:
        found = _trial(trainer, compiled.call, batch)
    except Exception as error:  # noqa: BLE001 - whatever stops torch is the answer
        raise _not_capturable(error, variant) from None
    if zeros := zero_for_none(wanted, found):
        raise _differs(
            f"{zeros} parameters belong to a way that is not taken: the model gives them no gradient, the graph a zero "
            "one, and optimizers move on that."
        )
    gap = difference(wanted, found)
    scale = max([1.0, *(float(one.abs().max()) for one in wanted if one is not None and one.numel())])
    if not gap <= TOLERANCE[precision] * (scale if math.isfinite(scale) else 1.0):
        raise _differs(f"The captured graph computes something else than the model: by up to {gap:g}.")
    return gap


def _differs(detail: str) -> TrainingFailure:
    hint = 'Train with "execution": "dynamic", or allow it with "execution_fallback": "dynamic".'
    return user_failure("static_differs", detail, hint=hint, pointer="/model")


def _trial(trainer: Trainer, call: Forward, batch: Batch) -> list[Tensor | None]:
    """Return loss, outputs and gradients of one batch, and undo everything else that it did."""
    with _undone(trainer.model, trainer.device):
        with trainer.autocast():
            output = call(*batch.inputs)
            loss, _ = trainer.objective.compute(output, batch)
        torch.autograd.backward(loss)
        found = [loss.detach(), *(one.detach() for one in tensors(output))]
        return [*found, *(parameter.grad for parameter in trainer.parameters)]


@contextmanager
def _undone(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put buffers, gradients and random generators back."""
    buffers = [(module, name, one, one.detach().clone()) for module in model.modules()
               for name, one in module._buffers.items() if one is not None]  # fmt: skip
    state = random_state(device)
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, kept in buffers:
                module._buffers[name] = buffer.copy_(kept)
        for parameter in model.parameters():
            parameter.grad = None
        restore_random_state(state)


def _prepare_compiler(job: Job, device: torch.device) -> None:
    """Let inductor, which only a GPU needs, compile in this process, into the attempt's own folder."""
    if device.type != "cuda":
        return
    folder = str(job.output.with_name("compiled"))
    os.environ.update(TORCHINDUCTOR_CACHE_DIR=folder, TRITON_CACHE_DIR=folder, TORCHINDUCTOR_COMPILE_THREADS="1")
    from torch._inductor import config  # noqa: PLC0415 - a job on a CPU never loads it

    config.fallback_random = True  # dropout draws what it draws dynamically


def _not_capturable(error: Exception, variant: Variant) -> TrainingFailure:
    found = break_of(error, variant.code)
    where = f" At: {found['source']}" if found["source"] else ""
    fix = f"{found['hint']} " if found["hint"] else ""
    return user_failure(
        "not_capturable",
        f"This model cannot be captured as a static graph. {found['reason']}{where}",
        hint=f'{fix}Or set "execution_fallback": "dynamic". POST /v1/graphs/capture shows every place.',
        pointer="/model" + (found["pointer"] or ""),
    )


def _does_not_fit(error: Exception) -> TrainingFailure:
    lines = [line.strip(" -\t") for line in str(error).splitlines() if "expected" in line or "==" in line]
    return user_failure(
        "static_graph_changed",
        f"A batch does not fit the captured graph: {(lines or [str(error)])[0][:300]}",
        hint='Set "execution_fallback": "dynamic" to go on without the graph.',
        pointer="/training/execution",
    )


def _event(
    execution: str,
    *,
    seconds: float = 0.0,
    reason: TrainingFailure | None = None,
    backend: str | None = None,
    batch_sizes: list[int] | None = None,
    max_abs_difference: float | None = None,
) -> dict[str, Any]:
    """Return the event that says how the job trains."""
    why = None
    if reason is not None:
        why = {"code": reason.code, "message": reason.detail, "pointer": reason.pointer, "hint": reason.hint}
    return {
        "event": "execution",
        "execution": execution,
        "seconds": round(seconds, 3),
        "reason": why,
        "backend": backend,
        "batch_sizes": batch_sizes,
        "max_abs_difference": max_abs_difference,
    }
