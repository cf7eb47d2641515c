"""Whether the parts of a plan can work together: what needs lengths, metrics and rows to be known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from services.errors import Problem
from services.training.problems import nearest
from services.training.schedulers import CyclicLR, OneCycleLR, ReduceLROnPlateau, Simple
from services.training.schema import OPEN_BATCH_SIZE, CheckpointPolicy, TrainingPlan

_SIMPLE: tuple[type[BaseModel], ...] = get_args(get_args(Simple)[0])
_CUDA_ONLY = ("fp16", "tf32")


def check_plan(
    plan: TrainingPlan,
    checkpoints: CheckpointPolicy,
    resolved: Mapping[str, Any],
    *,
    validation_rows: int,
    batch_size: int,
) -> list[Problem]:
    """Return what cannot work, each with the fix; ``resolved`` is the plan with its lengths and metrics."""
    return [
        *_check_optimizer(plan),
        *_check_averaging(plan, resolved),
        *_check_schedule(plan),
        *_check_watched(plan, checkpoints, resolved, validation_rows),
        *_check_freezing(plan),
        *_check_open_lengths(plan, is_open=batch_size == OPEN_BATCH_SIZE),
    ]


def check_device(plan: TrainingPlan, device: str) -> list[Problem]:
    """Return what a device that was asked for cannot do."""
    if device != "cpu" or plan.precision not in _CUDA_ONLY:
        return []
    detail = f"{plan.precision} needs a CUDA device, and the job asks for the CPU."
    hint = 'Use "bf16" or "float32", or {"resources": {"device": "cuda"}}.'
    return [Problem("precision_unavailable", detail, "/training/precision", hint)]


def _conflict(detail: str, pointer: str, hint: str | None = None) -> Problem:
    return Problem("conflict", detail, f"/training/{pointer}", hint)


def _check_optimizer(plan: TrainingPlan) -> Iterator[Problem]:
    kind = plan.optimizer.type
    if kind in ("LBFGS", "SparseAdam") and plan.gradient_clip is not None:
        why = "its line search needs the gradients as they are" if kind == "LBFGS" else "its gradients are sparse"
        yield _conflict(f"{kind} takes no gradient_clip: {why}.", "gradient_clip", "Leave it out.")
    if kind in ("LBFGS", "SparseAdam") and plan.on_non_finite == "skip":
        yield _conflict(f"A step of {kind} cannot be left out.", "on_non_finite", 'Use "fail" or "continue".')
    if plan.precision == "fp16" and kind == "LBFGS":
        yield _conflict("fp16 scales the loss, which LBFGS's line search cannot follow.", "precision", 'Use "bf16".')
    if plan.precision == "fp16" and plan.on_non_finite == "skip":
        detail = "fp16 leaves out steps whose gradients overflow by itself."
        yield _conflict(detail, "on_non_finite", 'Use "fail" or "continue".')


def _check_averaging(plan: TrainingPlan, resolved: Mapping[str, Any]) -> Iterator[Problem]:
    if plan.swa is None:
        return
    if plan.ema is not None:
        yield _conflict("Weights are averaged in one way: by ema or by swa.", "swa", "Leave one of them out.")
    if plan.swa.lr is None and plan.swa.model_fields_set & {"anneal_epochs", "anneal_strategy"}:
        yield _conflict("Without a rate to go to there is nothing to anneal.", "swa/lr", 'Give "lr" too.')
    whole = resolved["total_steps"] // resolved["steps_per_epoch"]
    start = resolved["swa"]["start_epoch"]
    if start > whole:
        detail = f"{start} is out of range: averages are taken at the end of an epoch, and {whole} epochs are whole."
        yield Problem("out_of_range", detail, "/training/swa/start_epoch", f"Use at most {whole}." if whole else None)


def _check_schedule(plan: TrainingPlan) -> Iterator[Problem]:
    scheduler, warmup = plan.scheduler, plan.warmup
    if isinstance(scheduler, CyclicLR) and scheduler.cycle_momentum and not _has_momentum(plan):
        detail = f"{plan.optimizer.type} has no momentum to cycle."
        pointer = "/training/scheduler/cycle_momentum"
        yield Problem("invalid_argument", detail, pointer, "Set cycle_momentum to false.")
    if warmup is None or scheduler is None:
        return
    interval = getattr(scheduler, "interval", None)
    if not isinstance(scheduler, _SIMPLE):
        hint = "Leave warmup out; SequentialLR with a LinearLR in front does the same."
        yield _conflict(f"{scheduler.type} cannot follow a warm-up.", "warmup", hint)
    elif (unit := "step" if warmup.steps is not None else "epoch") != interval:
        detail = f"The warm-up counts {unit}s, the schedule {interval}s."
        yield _conflict(detail, f"warmup/{unit}s", f'Set "interval": "{unit}" in the scheduler.')


def _has_momentum(plan: TrainingPlan) -> bool:
    return any(hasattr(plan.optimizer, name) for name in ("momentum", "betas"))


def _check_watched(
    plan: TrainingPlan, checkpoints: CheckpointPolicy, resolved: Mapping[str, Any], validation_rows: int
) -> Iterator[Problem]:
    watchers: list[tuple[str, str]] = []
    if plan.early_stopping is not None:
        watchers.append(("/training/early_stopping", plan.early_stopping.metric))
    if checkpoints.best is not None:
        watchers.append(("/checkpoints/best", checkpoints.best.metric))
    if isinstance(plan.scheduler, ReduceLROnPlateau):
        watchers.append(("/training/scheduler", plan.scheduler.metric))
    known = watchable(resolved)
    for pointer, metric in watchers:
        if not validation_rows:
            yield _unvalidated(pointer)
        elif metric not in known:
            detail = f"There is no series `{metric}` to watch."
            yield Problem("unknown_metric", detail, f"{pointer}/metric", nearest(metric, known))
    if "evaluate_every" in plan.model_fields_set and not validation_rows:
        yield _unvalidated("/training/evaluate_every")
    stopping, best = plan.early_stopping, checkpoints.best
    if stopping is not None and best is not None and stopping.restore_best and best.restore:
        detail = "Only one may restore its weights: early_stopping or the best checkpoint."
        yield Problem("conflict", detail, "/checkpoints/best/restore", "Leave one of them out.")


def _unvalidated(pointer: str) -> Problem:
    detail = "No row is left to validate on, so there is nothing to look at."
    return Problem("validation_required", detail, pointer, 'For example {"data": {"split": {"validation": 0.1}}}.')


def watchable(resolved: Mapping[str, Any]) -> list[str]:
    """Return the series that an evaluation makes, of a plan with its metrics."""
    terms = [f"loss/{name}" for name in resolved["loss"].get("terms", ())]
    names = ["loss", *terms, *(metric["name"] for metric in resolved["metrics"])]
    return [f"validation/{name}" for name in names]


def _check_freezing(plan: TrainingPlan) -> Iterator[Problem]:
    if "frozen_batch_norm" in plan.model_fields_set and not plan.freeze:
        yield _conflict("Nothing is frozen.", "frozen_batch_norm", "Give freeze too, or leave it out.")


def _check_open_lengths(plan: TrainingPlan, *, is_open: bool) -> Iterator[Problem]:
    """With a batch size that is found later, what counts steps against the run cannot be checked now."""
    if not is_open:
        return
    if isinstance(plan.scheduler, OneCycleLR) and plan.scheduler.total_steps is not None:
        detail = 'With batch_size "auto" nobody knows yet how many steps there are.'
        yield _conflict(detail, "scheduler/total_steps", "Leave it out: the cycle then takes the whole run.")
    if plan.swa is not None and plan.steps is not None:
        detail = 'With batch_size "auto" nobody knows yet which epochs are whole.'
        yield _conflict(detail, "swa", "Give epochs in place of steps, or a batch_size.")
