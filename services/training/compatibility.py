"""Whether loss, metrics, schedule and optimizer of a plan can work together on a target."""

from __future__ import annotations

from typing import Any

from services.datasets.catalog import Column, DatasetInfo
from services.errors import Problem
from services.training.losses import Loss, TargetKind
from services.training.metrics import metrics_for
from services.training.schema import TrainingPlan

_WORDS: dict[TargetKind, str] = {"class": "class numbers (int64)", "real": "real numbers"}
_TOP_K = 5


def check_compatibility(
    plan: TrainingPlan, resolved: dict[str, Any], dataset: DatasetInfo, target: str
) -> list[Problem]:
    """Return what cannot work, each with the fix; ``resolved`` is the plan with its lengths."""
    column = dataset.columns[target]
    return [
        *_check_target(plan.loss, dataset, target, column),
        *_check_class_weights(plan.loss, column),
        *_check_metrics(plan, column),
        *_check_one_cycle(plan, resolved),
    ]


def target_kind(column: Column) -> TargetKind:
    """Return what a column holds, as losses see it."""
    return "class" if column.dtype.startswith("int") else "real"


def _check_target(loss: Loss, dataset: DatasetInfo, target: str, column: Column) -> list[Problem]:
    have = target_kind(column)
    if loss.target_kind == have:
        return []
    detail = f"{loss.type} needs a target of {_WORDS[loss.target_kind]}, but column `{target}` holds {_WORDS[have]}."
    fitting = [name for name, one in dataset.columns.items() if target_kind(one) == loss.target_kind]
    losses = "CrossEntropyLoss" if have == "class" else "MSELoss or L1Loss"
    hint = f"Use {losses} for `{target}`" + (f", or one of the columns {', '.join(fitting)}." if fitting else ".")
    return [Problem("loss_target_mismatch", detail, "/training/loss/type", hint)]


def _check_class_weights(loss: Loss, column: Column) -> list[Problem]:
    weight = getattr(loss, "weight", None)
    if weight is None or column.classes is None or len(weight) == column.classes:
        return []
    detail = f"weight has {len(weight)} numbers for {column.classes} classes."
    return [Problem("invalid_argument", detail, "/training/loss/weight", "Give one weight a class.")]


def _check_metrics(plan: TrainingPlan, column: Column) -> list[Problem]:
    sensible, problems = metrics_for(plan.loss.type), []
    for index, name in enumerate(plan.metrics or ()):
        pointer = f"/training/metrics/{index}"
        if name not in sensible:
            detail = f"`{name}` says nothing about {plan.loss.type}."
            problems.append(Problem("metric_target_mismatch", detail, pointer, f"Use {' or '.join(sensible)}."))
        elif name == "top_5_accuracy" and column.classes is not None and column.classes < _TOP_K:
            detail = f"`{name}` needs at least {_TOP_K} classes; there are {column.classes}."
            problems.append(Problem("metric_target_mismatch", detail, pointer, "Use accuracy."))
    return problems


def _check_one_cycle(plan: TrainingPlan, resolved: dict[str, Any]) -> list[Problem]:
    scheduler = resolved["scheduler"]
    if scheduler is None or scheduler["type"] != "OneCycleLR":
        return []
    problems, steps = [], resolved["total_steps"]
    if scheduler["total_steps"] < steps:
        detail = f"The cycle of {scheduler['total_steps']} steps is over before the {steps} steps of the run."
        pointer = "/training/scheduler/total_steps"
        problems.append(Problem("out_of_range", detail, pointer, f"Use at least {steps}, or leave it out."))
    if scheduler["cycle_momentum"] and not _has_momentum(plan):
        detail = f"{plan.optimizer.type} has no momentum to cycle."
        pointer = "/training/scheduler/cycle_momentum"
        problems.append(Problem("invalid_argument", detail, pointer, "Set cycle_momentum to false."))
    return problems


def _has_momentum(plan: TrainingPlan) -> bool:
    return any(hasattr(plan.optimizer, name) for name in ("momentum", "betas"))
