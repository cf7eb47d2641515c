"""What went wrong, in the words of whoever sent the job: exceptions become training failures."""

from __future__ import annotations

import re
from types import TracebackType

import torch
from torch import nn

from services.definition import guards
from services.definition.problems import Place
from services.disk import is_disk_full, storage_full
from services.errors import InvalidRequest, TrainingFailure, user_failure
from services.modules.build import place_of_error

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|DefaultCPUAllocator|std::bad_alloc|CUBLAS_STATUS_ALLOC"
)
_SHAPES = re.compile(
    r"shape|size mismatch|sizes? of tensors?|must match|mat1 and mat2|Expected .*(channels|dimension|\dD)|"
    r"invalid for input of size|size of tensor|not broadcastable|Kernel size|out of range|but got .*input of size",
    re.IGNORECASE,
)
_SINGLE_SAMPLE = "Expected more than 1 value per channel"
_BEYOND_ENTRIES = "index out of range in self"  # torch's own words for an embedding
_MESSAGE_CHARACTERS = 600


class StepFailure(TrainingFailure):
    """Training failed at a step that is known exactly, and that the trainer may have passed already."""

    def __init__(self, detail: str, *, step: int, code: str, hint: str, pointer: str | None = None) -> None:
        super().__init__(detail, code=code, failure_class="user", retryable=False, hint=hint, pointer=pointer)
        self.step = step


def explain(error: Exception, model: nn.Module | None, *, batch_size: int) -> TrainingFailure:
    """Return the failure that an exception stands for; ``model`` lets it name the layer."""
    if isinstance(error, TrainingFailure):
        return error
    if isinstance(error, InvalidRequest):
        first = error.problems[0]
        return user_failure(first.code, first.detail, hint=first.hint, pointer=first.pointer)
    if is_out_of_memory(error):
        return _out_of_memory(batch_size)
    if isinstance(error, OSError):
        return _operating_system(error)
    layer = _failing_layer(error.__traceback__, model)
    if layer is not None:
        return _model_failure(error, layer)
    return TrainingFailure(
        "The trainer failed; its log says more.",
        code="trainer_error",
        failure_class="infrastructure",
        retryable=True,
        hint="The job is tried again.",
    )


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception says that there is no memory left."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def _out_of_memory(batch_size: int) -> TrainingFailure:
    smaller = f"Try batch_size {batch_size // 2}, or" if batch_size > 1 else "Try"
    return TrainingFailure(
        "The machine has not enough memory for this model and batch.",
        code="out_of_memory",
        failure_class="resource",
        retryable=False,
        hint=f"{smaller} a smaller model.",
        pointer="/data/batch_size",
    )


def _operating_system(error: OSError) -> TrainingFailure:
    if is_disk_full(error):
        return storage_full("There is no room left on the worker's disk to write checkpoints.")
    return TrainingFailure(
        f"Input or output failed: {error.strerror}.",
        code="io_error",
        failure_class="infrastructure",
        retryable=True,
        hint="The job goes on from its last checkpoint.",
    )


def _model_failure(error: Exception, layer: str) -> TrainingFailure:
    text = _shorten(str(error)) or type(error).__name__
    if _SINGLE_SAMPLE in text:
        return single_sample_failure()
    if text == _BEYOND_ENTRIES:
        hint = "Give it as many entries as there are different numbers."
        detail = f"In {layer}: a number is looked up for which there is no entry."
        return user_failure("index_out_of_range", detail, hint=hint, pointer="/model")
    if "deterministic" in text and "implementation" in text:
        hint = 'Set "reproducible": false, or use another operation.'
        return user_failure(
            "nondeterministic_operation", f"In {layer}: {text}", hint=hint, pointer="/training/reproducible"
        )
    guarded = guards.failure(text)
    if guarded is not None:
        return _guarded(error, *guarded)
    if _SHAPES.search(text):
        hint = "Check the sizes that meet there; `POST /v1/models/validate` shows the shape at every layer."
        return user_failure("shape_mismatch", f"In {layer}: {text}", hint=hint, pointer="/model")
    return user_failure("model_failed", f"In {layer}: {text}", hint="See the model's `forward`.", pointer="/model")


def _guarded(error: Exception, code: str, hint: str) -> TrainingFailure:
    """Return the failure of a guard in the model's source: it names the place in the document."""
    place = place_of_error(error) or Place("")
    where = f" (column {place.column} of that text)" if place.column else ""
    return user_failure(code, f"{str(error).capitalize()}{where}.", hint=hint, pointer=f"/model{place.pointer}")


def single_sample_failure() -> TrainingFailure:
    """Return the failure of batch normalisation over one value."""
    return user_failure(
        "batchnorm_single_sample",
        "Batch normalisation cannot train on a batch with a single row: it has no variance.",
        hint='Set "drop_last": true in data, or a batch_size that leaves no single row over.',
        pointer="/data/batch_size",
    )


def small_batch_failure(rows: int, processes: int) -> TrainingFailure:
    """Return the failure of a batch that leaves a process without a row."""
    return user_failure(
        "batch_too_small",
        f"A batch of {rows} row(s) cannot be shared by {processes} processes.",
        hint='Set "drop_last": true in data, or another batch_size.',
        pointer="/data/batch_size",
    )


def _failing_layer(traceback: TracebackType | None, model: nn.Module | None) -> str | None:
    """Return the innermost module of the model on the stack; None when the error did not come from a step."""
    names = {id(module): name for name, module in model.named_modules()} if model is not None else {}
    found = None
    while traceback is not None:
        frame = traceback.tb_frame
        owner = frame.f_locals.get("self")
        if id(owner) in names:
            name = names[id(owner)]
            found = f"layer `{name}` ({type(owner).__name__})" if name else f"the model ({type(owner).__name__})"
        elif frame.f_code.co_name == "train_step" and found is None:
            found = "the loss or its backward pass"
        traceback = traceback.tb_next
    return found


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_CHARACTERS else text[:_MESSAGE_CHARACTERS] + "…"
