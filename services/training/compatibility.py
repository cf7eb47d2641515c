"""Whether loss, metrics, schedule and optimizer of a plan can work together on a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.datasets.catalog import Column, DatasetInfo
from services.errors import Problem
from services.training.losses import LOSSES, Loss, TargetKind
from services.training.metrics import METRICS, metrics_for
from services.training.objective import TARGETS
from services.training.schema import TrainingPlan

_WORDS: dict[TargetKind, str] = {
    "class": "class numbers (int64)",
    "real": "real numbers",
    "sign": "1 and -1",
    "labels": "class numbers (int64), filled up with -1",
    "tokens": "class numbers (int64)",
}
_FITTING: dict[TargetKind, tuple[TargetKind, ...]] = {
    "class": ("class",),
    "real": ("real",),
    "sign": ("class", "real"),
    "labels": ("class",),
    "tokens": ("class",),
    "none": ("class", "real"),
}
_TOP_K = 5


def check_compatibility(
    plan: TrainingPlan, resolved: dict[str, Any], dataset: DatasetInfo, names: Mapping[str, str]
) -> list[Problem]:
    """Return what cannot work, each with the fix.

    ``resolved`` is the plan with its lengths; ``names`` gives each name that loss and metrics use its column. What is
    compared with an expression, and not with a column, only the preflight can tell.
    """
    problems = _check_one_cycle(plan, resolved)
    compared = compared_column(resolved["loss"], names)
    if compared is not None and isinstance(plan.loss, Loss):
        column = dataset.columns[compared]
        problems += _check_target(plan.loss, dataset, compared, column)
        problems += _check_class_weights(plan.loss, column)
    return problems + _check_metrics(plan, resolved, dataset, names)


def compared_column(loss: Mapping[str, Any], names: Mapping[str, str]) -> str | None:
    """Return the column that a named loss compares with, if it is a column as it stands."""
    kind = LOSSES.get(loss["type"])
    place = next((index for index, name in enumerate(kind.forward) if name in TARGETS), None) if kind else None
    inputs = loss.get("inputs") or []
    return names.get(inputs[place]) if place is not None and place < len(inputs) else None


def target_kind(column: Column) -> TargetKind:
    """Return what a column holds, as losses see it."""
    return "class" if column.dtype.startswith(("int", "uint")) else "real"


def _check_target(loss: Loss, dataset: DatasetInfo, target: str, column: Column) -> list[Problem]:
    have, fitting_kinds = target_kind(column), _FITTING[loss.target_kind]
    if have in fitting_kinds or (loss.type == "CrossEntropyLoss" and column.shape and loss.inputs):
        return []  # cross entropy also takes probabilities, when it is told to
    detail = f"{loss.type} needs a target of {_WORDS[loss.target_kind]}, but column `{target}` holds {_WORDS[have]}."
    fitting = [name for name, one in dataset.columns.items() if target_kind(one) in fitting_kinds]
    losses = "CrossEntropyLoss" if have == "class" else "MSELoss or L1Loss"
    hint = f"Use {losses} for `{target}`" + (f", or one of the columns {', '.join(fitting)}." if fitting else ".")
    if have == "class" and column.shape == ():
        encode = ', "encode": "label"' if column.kind == "category" else ""
        hint += f' As real numbers: "features": {{"y": {{"columns": ["{target}"]{encode}}}}}, "target": "y".'
    return [Problem("loss_target_mismatch", detail, "/training/loss/type", hint)]


def _check_class_weights(loss: Loss, column: Column) -> list[Problem]:
    weight = getattr(loss, "weight", None)
    if weight is None or column.classes is None or len(weight) == column.classes:
        return []
    detail = f"weight has {len(weight)} numbers for {column.classes} classes."
    return [Problem("invalid_argument", detail, "/training/loss/weight", "Give one weight a class.")]


def _check_metrics(
    plan: TrainingPlan, resolved: dict[str, Any], dataset: DatasetInfo, names: Mapping[str, str]
) -> list[Problem]:
    """Check the quick metrics: those of torchmetrics are tried in the preflight."""
    sensible, problems = metrics_for(plan.loss.type), []
    for index, metric in enumerate(plan.metrics or ()):
        name = metric if isinstance(metric, str) else metric.get("type")
        bound = next((row for row in resolved["metrics"] if row.get("type") == name), None)
        if name not in METRICS or bound is None:
            continue
        column = dataset.columns.get(names.get(bound["inputs"][1], "")) if len(bound["inputs"]) > 1 else None
        pointer = f"/training/metrics/{index}"
        if sensible and isinstance(metric, str) and name not in sensible:
            detail = f"`{name}` says nothing about {plan.loss.type}."
            problems.append(Problem("metric_target_mismatch", detail, pointer, f"Use {' or '.join(sensible)}."))
        elif name == "top_5_accuracy" and column and column.classes is not None and column.classes < _TOP_K:
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
