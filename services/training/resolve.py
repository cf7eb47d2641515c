"""What a plan means for one data set and one model: columns bound, defaults filled, lengths counted, seed chosen."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from services.datasets.catalog import DatasetInfo
from services.datasets.split import split_sizes
from services.errors import InvalidRequest, Problem
from services.training.binding import Input, bind_inputs, bind_targets
from services.training.compatibility import check_compatibility
from services.training.lengths import steps_per_epoch, with_lengths, without_lengths
from services.training.objective import Bound, Names, bind_objective, names_of
from services.training.plan_checks import check_plan
from services.training.schema import OPEN_BATCH_SIZE, CheckpointPolicy, DataSection, TrainingPlan

_SHOWN_NAMES = 20
_MAX_CHOSEN_SEED = 2**31  # short enough to read out loud


class Model(Protocol):
    """What this module needs to know of a checked definition."""

    @property
    def inputs(self) -> Sequence[Input]:
        """Empty when the definition does not declare them."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of what forward returns; empty when the definition does not declare them."""


def resolve(
    *, data: DataSection, training: TrainingPlan, checkpoints: CheckpointPolicy, dataset: DatasetInfo, definition: Model
) -> dict[str, Any]:
    """Return the sections ``data``, ``training`` and ``checkpoints`` with nothing left open, as plain JSON.

    Raises:
        InvalidRequest: with every way in which plan, data set and model do not fit together.
    """
    bindings, problems = bind_inputs(data, dataset, definition.inputs)
    targets, target_problems = bind_targets(data, dataset)
    problems += target_problems
    target = targets[0] if len(targets) == 1 else None
    names = names_of(definition.outputs, bindings, dataset.columns, target)
    bound = bind_objective(training.loss, training.metrics, names)
    problems += [] if target_problems else bound.problems
    rows, row_problems = _count_rows(data, dataset)
    problems += row_problems
    size = data.batch_size or max(1, rows["train"])  # left open: the checks see the shortest run that there can be
    steps = steps_per_epoch(rows["train"], size, drop_last=data.drop_last, accumulate=training.accumulate)
    resolved_training = _resolve_training(training, bound, steps)
    problems += check_plan(
        training, checkpoints, resolved_training, validation_rows=rows["validation"], batch_size=data.batch_size
    )
    problems += check_compatibility(training, resolved_training, dataset, bound.used)
    if problems:
        raise InvalidRequest(problems)
    if data.batch_size == OPEN_BATCH_SIZE:
        resolved_training |= without_lengths(training.model_dump())
    used = [name for name in targets if data.target is not None or name in bound.used.values()]
    return {
        "data": _resolve_data(data, dataset, bindings=bindings, names=names, bound=bound, targets=used, rows=rows),
        "training": resolved_training,
        "checkpoints": checkpoints.model_dump(),
    }


def preflight_inputs(resolved: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return dtype and shape, batch first, of what the model will be called with, in order."""
    data = resolved["data"]
    return {
        binding["input"] or binding["column"]: {
            "dtype": data["columns"][binding["column"]]["dtype"],
            "shape": ["B", *data["columns"][binding["column"]]["shape"]],
        }
        if binding["column"] is not None
        else {"shape": None}
        for binding in data["bindings"]
    }


def preflight_objective(resolved: dict[str, Any]) -> dict[str, Any]:
    """Return what the preflight needs to try loss and metrics: both, the names they may use, and the job's columns.

    Where images are transformed, so are their transforms, for it tries these too.
    """
    data, training = resolved["data"], resolved["training"]
    sections = {"loss": training["loss"], "metrics": training["metrics"]}
    images = {
        name: {"shape": [recipe["sources"][0]["shape"][0], *_first_size(recipe)], "transforms": transforms}
        for name, recipe in data.get("recipes", {}).items()
        if recipe["image"] and (transforms := recipe["image"]["transforms"])
    }
    return {**sections, "names": data["names"], "columns": data["columns"], **({"images": images} if images else {})}


def _first_size(recipe: dict[str, Any]) -> list[int]:
    """Return [height, width] of what a feature's transforms begin with."""
    size: list[int] = recipe["image"]["resize"] or recipe["sources"][0]["shape"][1:]
    return size


def _resolve_data(
    data: DataSection,
    dataset: DatasetInfo,
    *,
    bindings: list[dict[str, Any]],
    names: Names,
    bound: Bound,
    targets: list[str],
    rows: dict[str, int],
) -> dict[str, Any]:
    inputs = [binding["column"] for binding in bindings]
    used = dict.fromkeys([*(name for name in inputs if name is not None), *targets, *bound.used.values()])
    return {
        **data.model_dump(),
        "inputs": inputs,
        "bindings": bindings,
        "target": targets if isinstance(data.target, list) else next(iter(targets), None),
        # The names in use, and a few of the others for whoever meant one of them.
        "names": {**dict(itertools.islice(names.columns.items(), _SHOWN_NAMES)), **bound.used},
        "columns": {name: dataset.columns[name].to_dict() for name in used},
        "split": {**data.split.model_dump(), "train": _train_share(data)},
        "rows": rows,
    }


def _train_share(data: DataSection) -> float:
    split = data.split
    return split.train if split.train is not None else 1.0 - split.validation - split.test


def _count_rows(data: DataSection, dataset: DatasetInfo) -> tuple[dict[str, int], list[Problem]]:
    rows = dict(dataset.part_rows or {}) or split_sizes(
        dataset.rows, {**data.split.model_dump(), "train": _train_share(data)}
    )
    if rows["train"] == 0:
        detail = f"No row is left to train on: {dataset.rows} rows are cut into {rows}."
        if data.window is None:
            return rows, [Problem("empty_dataset", detail, "/data/split", "Give train a larger share.")]
        length, shift = data.window.length, data.window.shift
        detail = f"No window is left to train on: one takes {length + shift} rows, and there are {dataset.rows} in all."
        return rows, [Problem("empty_dataset", detail, "/data/window/length", "Use shorter windows.")]
    if data.drop_last and rows["train"] < data.batch_size:
        detail = f"{data.batch_size} is out of range: with drop_last, {rows['train']} training rows make no batch."
        return rows, [Problem("out_of_range", detail, "/data/batch_size", f"Use at most {rows['train']}.")]
    return rows, []


def _resolve_training(plan: TrainingPlan, bound: Bound, steps_an_epoch: int) -> dict[str, Any]:
    resolved = {
        **plan.model_dump(),
        "optimizer": plan.optimizer.resolved(),
        "loss": bound.loss,
        "execution_fallback": plan.execution_fallback or ("fail" if plan.execution == "static" else None),
        "metrics": bound.metrics,
        "seed": secrets.randbelow(_MAX_CHOSEN_SEED) if plan.seed is None else plan.seed,
    }
    return with_lengths(resolved, steps_an_epoch)
