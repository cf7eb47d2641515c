"""Finds a batch size for a plan that leaves it open: the largest power of two that fits and is not slower for a row."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from services.training.lengths import steps_per_epoch, with_lengths
from worker.trainer.failures import is_out_of_memory
from worker.trainer.freezing import Held
from worker.trainer.job import Job
from worker.trainer.loop import Trainer

AUTO = "auto"
_SMALLEST = 8
_LEAST_BATCHES = 8  # an epoch keeps so many batches: learning needs steps
_STEPS = 3
_TOLERANCE = 1.05  # what counts as "not slower": timings wobble
_SECONDS = 20.0  # no larger size is tried after so long

Assemble = Callable[[Job, nn.Module], Trainer]
"""Puts a trainer together that nobody keeps."""


def with_batch_size(job: Job, size: int, rows: int) -> Job:
    """Return the job with its batch size, and the lengths that follow from it."""
    drop_last, accumulate = job.data["drop_last"], job.training["accumulate"]
    steps = steps_per_epoch(rows, size, drop_last=drop_last, accumulate=accumulate)
    return replace(job, data={**job.data, "batch_size": size}, training=with_lengths(job.training, steps))


def choose_batch_size(job: Job, model: nn.Module, held: Held, rows: int, assemble: Assemble) -> int:
    """Train a copy of ``model`` for a few steps at each size, and return the size to train with.

    Random generators are left as they were: the run is that of a plan which says this size.

    Raises:
        TrainingFailure: what the first step found wrong.
        Exception: not even the smallest size fits into memory.
    """
    device = next(model.parameters()).device
    best, best_seconds = 0, float("inf")
    deadline = time.monotonic() + _SECONDS
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for size in _candidates(rows, single_row_fails=bool(held.others(model)) and not job.data["drop_last"]):
            try:
                seconds = _seconds_a_row(assemble(with_batch_size(job, size, rows), copy.deepcopy(model)))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or not best:
                    raise
                break
            if seconds > best_seconds * _TOLERANCE or time.monotonic() > deadline:
                break
            best, best_seconds = size, min(seconds, best_seconds)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return best


def _candidates(rows: int, *, single_row_fails: bool) -> Iterator[int]:
    limit = max(1, rows // _LEAST_BATCHES)
    sizes = [1 << power for power in range(limit.bit_length())]
    suitable = [size for size in sizes if not single_row_fails or (size > 1 and rows % size != 1)]
    yield from [size for size in suitable if size >= _SMALLEST] or suitable[-1:] or [rows]


def _seconds_a_row(trainer: Trainer) -> float:
    """Return the time of the fastest of a few steps, for one row."""
    fastest = float("inf")
    windows = trainer.windows.rest_of_epoch(0)
    for window, _ in zip(windows, range(_STEPS), strict=False):
        began = time.perf_counter()
        trainer.train_step(window).item()
        fastest = min(fastest, (time.perf_counter() - began) / sum(batch.rows for batch in window))
    return fastest
