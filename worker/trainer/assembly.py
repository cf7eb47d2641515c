"""Builds a trainer from a job: everything that happens before the first step."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from services.definition import Definition, check
from services.definition.vocabulary import Vocabulary
from services.errors import TrainingFailure
from services.modules.autocast import autocast
from services.modules.data.loading import Loaded, load_data
from services.modules.data.parts import Part
from services.modules.measures import build_measures
from services.training.sources import vocabulary_of
from worker.trainer.averaging import build_averaging
from worker.trainer.batch_size import AUTO, choose_batch_size, with_batch_size
from worker.trainer.cadence import Cadence
from worker.trainer.checkpoint import CheckpointWriter, Restored, begin_with, read_checkpoint
from worker.trainer.control import Control, Line
from worker.trainer.data import Batches, Share
from worker.trainer.environment import choose_device, describe, differences, prepare_process
from worker.trainer.evaluation import Evaluator
from worker.trainer.failures import single_sample_failure, small_batch_failure
from worker.trainer.freezing import Held, freeze
from worker.trainer.job import Job
from worker.trainer.lookups import check_lookups
from worker.trainer.loop import Trainer
from worker.trainer.objective import Objective
from worker.trainer.optim import build_optimizer
from worker.trainer.parallel import ALONE, Ranks
from worker.trainer.parallel.quiet import QuietRecorder, quiet_writer
from worker.trainer.precision import check_precision
from worker.trainer.recorder import Recorder
from worker.trainer.schedule import Schedule
from worker.trainer.static import choose_forward
from worker.trainer.steps import Windows
from worker.trainer.update import build_update
from worker.trainer.watch import Watch

Build = Callable[[Definition], nn.Module]
# The gradients' norm is told so often that it costs little, and at the same steps whatever the machine.
_NORM_STEPS = 100
_NORMS = 50


@dataclass(frozen=True, slots=True)
class _Site:
    device: torch.device
    environment: dict[str, Any]
    vocabulary: Vocabulary
    ranks: Ranks


def assemble(job: Job, line: Line, build: Build, ranks: Ranks = ALONE) -> Trainer:
    """Return the trainer of a job, at its first step or where its checkpoint left off; says ``started`` on the way.

    Raises:
        InvalidRequest: the definition is not valid.
        TrainingFailure: data, device or checkpoint are not as they must be.
    """
    definition = check(job.definition)
    ranks.connect(job, line.isolation)
    device = choose_device(job.device)
    check_precision(job.training["precision"], device)
    prepare_process(job, device)
    environment = describe(job, device, definition.sha256)
    restored = _restore(job.resume, environment) if job.resume else None
    is_open = job.data["batch_size"] == AUTO
    if is_open and restored is not None:  # what was found once is kept
        environment["batch_size"] = restored.environment["batch_size"]
    _announce(line, environment, restored)
    loaded = load_data(job.data, device)
    model = build(definition).to(device)
    if restored is None and job.initial_weights is not None:
        begin_with(model, job.initial_weights, job.initial_tensors)
        line.emit({"event": "weights_loaded", "tensors": len(job.initial_tensors)})
    held = freeze(model, job.training)
    held.train(model)
    ranks.adopt(model, int(job.training["seed"]))
    site = _Site(device, environment, vocabulary_of(definition.outputs, job.data["names"]), ranks)
    if is_open:
        job = _sized(job, line, model=model, held=held, loaded=loaded, site=site)
    trainer = _put_together(job, line, model=model, held=held, loaded=loaded, site=site, restored=restored)
    _check_smallest_batch(trainer)
    check_lookups(model, loaded.parts)
    ranks.check(trainer.model, trainer.objective, loaded.parts["train"], job.data["batch_size"])
    if restored is not None:
        trainer.load_state_dict(restored)
    trainer.forward = choose_forward(trainer, definition, job, line)
    return trainer


def _sized(job: Job, line: Line, *, model: nn.Module, held: Held, loaded: Loaded, site: _Site) -> Job:
    """Return the job with the batch size that its plan leaves open, and say which it is."""
    rows, size = len(loaded.parts["train"]), site.environment["batch_size"]

    def assemble(trial: Job, copied: nn.Module) -> Trainer:
        return _put_together(trial, line, model=copied, held=held, loaded=loaded, site=site, restored=None)

    if size == AUTO:
        size = site.environment["batch_size"] = choose_batch_size(job, model, held, rows, assemble)
    sized = with_batch_size(job, size, rows)
    line.emit({"event": "batch_size", "batch_size": size, "training": dict(sized.training)})
    return sized


def _restore(folder: Path, environment: Mapping[str, Any]) -> Restored:
    """Read the checkpoint, which must be one of the same model and data."""
    restored = read_checkpoint(folder)
    for name in ("definition_sha256", "dataset_sha256"):
        if restored.environment.get(name) != environment[name]:
            raise TrainingFailure(
                f"The checkpoint to resume from was made with another model or other data: its {name} differs.",
                code="checkpoint_mismatch",
                failure_class="infrastructure",
                retryable=False,
                hint="Train the job anew.",
            )
    return restored


def _announce(line: Line, environment: Mapping[str, Any], restored: Restored | None) -> None:
    event: dict[str, Any] = {"event": "started", "pid": os.getpid(), "environment": environment}
    event |= {"isolation": list(line.isolation), "resumed_from_step": restored.step if restored else None}
    if restored is not None:
        differing = differences(restored.environment, environment)
        event |= {"resume": "approximate" if differing else "exact", "differences": differing}
    line.emit(event)
    line.emit({"event": "phase", "phase": "loading_data"})


def _put_together(
    job: Job,
    line: Line,
    *,
    model: nn.Module,
    held: Held,
    loaded: Loaded,
    site: _Site,
    restored: Restored | None,
) -> Trainer:
    plan, step, parts = job.training, restored.step if restored else 0, loaded.parts
    optimizer = build_optimizer(plan["optimizer"], model)
    objective = Objective(plan["loss"], parts, site.device, vocabulary=site.vocabulary)
    measures = build_measures(plan, site.vocabulary, site.device)
    windows = Windows(_batches(job, parts["train"], site.ranks.share), plan["accumulate"])
    every = job.checkpoints["every"]
    elapsed = restored.state["elapsed_seconds"] if restored else 0.0
    return Trainer(
        model=model,
        forward=model,
        parameters=[parameter for parameter in model.parameters() if parameter.requires_grad],
        held=held,
        objective=objective,
        autocast=autocast(plan["precision"], site.device),
        optimizer=optimizer,
        update=build_update(plan, model, optimizer),
        schedule=Schedule(plan["scheduler"], optimizer, plan["swa"]),
        averaging=build_averaging(model, plan, held),
        windows=windows,
        ranks=site.ranks,
        parts=parts,
        evaluator=lambda one: Evaluator(one, objective, measures, batch_size=job.data["batch_size"]),
        watch=Watch(plan["early_stopping"], job.checkpoints["best"]),
        recorder=_recorder(plan, line, windows.steps_per_epoch, QuietRecorder if site.ranks.rank else Recorder),
        writer=quiet_writer() if site.ranks.rank else CheckpointWriter(job.output, loaded.preprocessing),
        cadence=Cadence(every, steps_per_epoch=windows.steps_per_epoch, step=step, now=time.monotonic()),
        control=Control(line, runtime_seconds=job.max_runtime_seconds - elapsed),
        line=line,
        environment=site.environment,
        device=site.device,
        total_steps=plan["total_steps"],
        evaluation_steps=_evaluation_steps(plan, windows.steps_per_epoch),
        norm_steps=min(_NORM_STEPS, max(1, plan["total_steps"] // _NORMS)),
    )


def _evaluation_steps(plan: Mapping[str, Any], steps_per_epoch: int) -> int:
    every = plan["evaluate_every"]
    return int(every["steps"] or every["epochs"] * steps_per_epoch)


def _batches(job: Job, part: Part, share: Share) -> Batches:
    data = job.data
    return Batches(
        part,
        batch_size=data["batch_size"],
        shuffle=data["shuffle"],
        drop_last=data["drop_last"],
        seed=job.training["seed"],
        share=share,
    )


def _recorder(plan: Mapping[str, Any], line: Line, steps_per_epoch: int, kind: type[Recorder]) -> Recorder:
    return kind(
        line,
        total_steps=plan["total_steps"],
        total_epochs=plan["total_epochs"],
        steps_per_epoch=steps_per_epoch,
        fails_on_non_finite=plan["on_non_finite"] == "fail",
    )


def _check_smallest_batch(trainer: Trainer) -> None:
    """Find out before the first step whether the smallest batch is too small.

    Raises:
        TrainingFailure: ``batch_too_small`` for the processes that share it, ``batchnorm_single_sample``.
    """
    model, smallest = trainer.model, min(trainer.windows.batches.sizes())
    if smallest < trainer.ranks.count:
        raise small_batch_failure(smallest, trainer.ranks.count)
    if trainer.ranks.count > 1:
        return
    if not trainer.held.others(model) or 1 not in trainer.windows.batches.sizes():
        return
    trial = copy.deepcopy(model)
    batch = next(trainer.parts["train"].batches(1))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            trial(*batch.inputs)
        except ValueError as error:
            if "Expected more than 1 value per channel" in str(error):
                raise single_sample_failure() from None
