"""What loss and metrics are called with: names bound to outputs of the model and to columns of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.datasets.catalog import Column
from services.definition.formulas import Formulas
from services.definition.vocabulary import WHOLE, Vocabulary, is_usable
from services.errors import InvalidRequest, Problem
from services.training.losses import LOSSES, Loss, TermsLoss
from services.training.metrics import METRICS, metric_classes, metrics_for
from services.training.sources import loss_formulas, metric_formulas, vocabulary_of

TARGETS = ("target", "targets", "labels", "point_cloud2")
"""What torch and torchmetrics call the thing to compare with."""
_COLUMNS_ONLY = ("input_lengths", "target_lengths", "indexes")
"""What no model returns: a column of that name, or an explicit input."""
_COUNTS = ("num_classes", "num_labels")


@dataclass(slots=True)
class Names:
    """What expressions of one request may name, before anything is chosen: columns, inputs, the target."""

    outputs: tuple[str, ...]
    columns: dict[str, str]
    """Each name's column."""
    described: Mapping[str, Column]

    def vocabulary(self) -> Vocabulary:
        """Return the names in the form that expressions are checked with."""
        return vocabulary_of(self.outputs, self.columns)

    def target_column(self, text: str) -> Column | None:
        """Return the column that an expression names, if it does nothing else."""
        return self.described.get(self.columns.get(text, ""))


@dataclass(slots=True)
class Bound:
    """Loss and metrics of a plan with nothing left open; ``used`` gives each name that they use its column."""

    loss: dict[str, Any]
    metrics: list[dict[str, Any]]
    used: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def names_of(
    outputs: Sequence[str], bindings: Iterable[Mapping[str, Any]], columns: Mapping[str, Column], target: str | None
) -> Names:
    """Return what may be named: every column, every input by the model's name for it, and ``target``."""
    found = {name: name for name in columns if is_usable(name)}
    found |= {one["input"]: one["column"] for one in bindings if one["input"] and one["column"]}
    if target is not None:
        found["target"] = target
    return Names(tuple(outputs), found, columns)


def bind_objective(loss: Loss | TermsLoss, metrics: Sequence[Any] | None, names: Names) -> Bound:
    """Fill in what loss and metrics leave open, and check every expression."""
    bound = Bound(loss.model_dump(), [])
    if isinstance(loss, Loss):
        bound.loss["inputs"] = loss.inputs or default_inputs(loss.forward, names)
        if loss.inputs is not None and len(loss.inputs) != len(loss.forward):
            detail = f"{loss.type} is called with {len(loss.forward)} inputs ({', '.join(loss.forward)})."
            bound.problems.append(Problem("invalid_argument", detail, "/training/loss/inputs", _example(loss.forward)))
        elif bound.loss["inputs"] is None:
            bound.problems.append(_inputs_required(loss.type, loss.forward, names, "/training/loss/inputs"))
    if not bound.problems:
        _collect(bound, names, lambda vocabulary: loss_formulas(bound.loss, vocabulary))
    by_default = [] if bound.problems else metrics_for(loss.type)[:1]
    chosen = by_default if metrics is None else metrics
    for index, metric in enumerate(chosen):
        _bind_metric(metric, index, bound, names)
    _check_series(bound)
    return bound


def default_inputs(parameters: Sequence[str], names: Names) -> list[str] | None:
    """Return what a loss or metric is called with when nobody says, or None when only the sender can tell.

    A target is the target. What has the name of an output or a column is that. The rest are the outputs in order; of
    several outputs none is chosen for a loss that takes one.
    """
    own = [name for name in parameters if not (name in TARGETS or name in _COLUMNS_ONLY or name in names.outputs)]
    found: list[str] = []
    outputs = _whole_outputs(own, [name for name in names.outputs if name not in parameters], names)
    if outputs is None:
        return None
    for name in parameters:
        if name in TARGETS:
            found.append("target")
        elif name in names.outputs or (name in _COLUMNS_ONLY and name in names.columns):
            found.append(name)
        elif name in _COLUMNS_ONLY:
            return None
        else:
            found.append(outputs.pop(0))
    return found


def _whole_outputs(wanted: Sequence[str], free: list[str], names: Names) -> list[str] | None:
    """Return expressions for the outputs that no parameter names, in order, as many as are wanted."""
    if len(names.outputs) > 1:
        return free if len(free) == len(wanted) or not wanted else None
    whole = names.outputs[0] if names.outputs else WHOLE
    return [whole] if len(wanted) == 1 else [f"{whole}[{index}]" for index in range(len(wanted))]


def _bind_metric(metric: Any, index: int, bound: Bound, names: Names) -> None:  # noqa: ANN401 - checked by the schema
    given = {"type": metric} if isinstance(metric, str) else dict(metric)
    if "expression" in given:
        row: dict[str, Any] = {"name": given["name"], "expression": given["expression"]}
    else:
        row = _class_metric(given, index, bound, names)
        if row["inputs"] is None:
            pointer = f"/training/metrics/{index}/inputs"
            bound.problems.append(_inputs_required(row["type"], _parameters(row["type"]), names, pointer))
            return
    bound.metrics.append(row)
    _collect(bound, names, lambda vocabulary: metric_formulas(row, index, vocabulary))


def _class_metric(given: Mapping[str, Any], index: int, bound: Bound, names: Names) -> dict[str, Any]:
    kind = given["type"]
    inputs = given.get("inputs") or _metric_inputs(_parameters(kind), bound.loss, names)
    arguments = {name: value for name, value in given.items() if name not in ("type", "name", "inputs")}
    row = {"name": given.get("name", kind), "type": kind, "inputs": inputs, "arguments": arguments}
    if kind not in METRICS and inputs is not None:
        _infer(row, index, bound, names)
    return row


def _parameters(kind: str) -> tuple[str, ...]:
    return ("preds", "target") if kind in METRICS else metric_classes()[kind].inputs


def _metric_inputs(parameters: Sequence[str], loss: Mapping[str, Any], names: Names) -> list[str] | None:
    """Return what a metric looks at by default: what a named loss compares, else the one output and the target."""
    compared, kind = loss.get("inputs"), LOSSES.get(loss["type"])
    compares = kind is not None and kind.forward[1:2] == ("target",)
    if parameters[:2] == ("preds", "target") and compared and compares:
        return [*compared[:2], *parameters[2:]] if set(parameters[2:]) <= names.columns.keys() else None
    return default_inputs(parameters, names)


def _infer(row: dict[str, Any], index: int, bound: Bound, names: Names) -> None:
    """Fill in the task and the number of classes or labels from the column that the metric compares with."""
    listed, arguments = metric_classes()[row["type"]], row["arguments"]
    column = names.target_column(row["inputs"][1]) if len(row["inputs"]) > 1 else None
    known = _known_counts(column) if column is not None else {}
    if "task" in listed.required and "task" not in arguments and known:
        arguments["task"] = known["task"]
    for name in _COUNTS:
        if name in known and name in listed.properties:
            arguments.setdefault(name, known[name])
    wanted = {"multiclass": ["num_classes"], "multilabel": ["num_labels"]}.get(arguments.get("task", ""), [])
    for name in [*listed.required, *wanted]:
        if name not in arguments:
            detail = f"{row['type']} needs `{name}`, and the data do not tell."
            hint = f'For example {{"type": "{row["type"]}", "{name}": …}}.'
            bound.problems.append(Problem("missing", detail, f"/training/metrics/{index}/{name}", hint))


def _known_counts(column: Column) -> dict[str, Any]:
    if column.classes is not None:
        return {"task": "multiclass", "num_classes": column.classes}
    if column.shape in ((), (1,)):
        return {"task": "binary"}
    return {"task": "multilabel", "num_labels": column.shape[0]}


def _collect(bound: Bound, names: Names, check: Any) -> None:  # noqa: ANN401 - a function of the vocabulary
    try:
        formulas: Formulas = check(names.vocabulary())
    except InvalidRequest as error:
        bound.problems += [_without_target(problem, names) for problem in error.problems]
        return
    bound.used |= {name: names.columns[name] for name in formulas.names if name in names.columns}
    if "target" in formulas.names and "target" not in names.columns:
        bound.problems.append(_target_required())


def _without_target(problem: Problem, names: Names) -> Problem:
    unknown = problem.code == "unknown_name" and "'target'" in problem.detail and "target" not in names.columns
    return _target_required() if unknown else problem


def _target_required() -> Problem:
    detail = "Loss or metrics compare with a target, but `data.target` does not name one column."
    return Problem("target_required", detail, "/data/target", "Name it, or name columns in the loss's `inputs`.")


def _inputs_required(what: str, parameters: Sequence[str], names: Names, pointer: str) -> Problem:
    detail = f"{what} is called with {', '.join(parameters)}; which outputs and columns these are must be said."
    return Problem("inputs_required", detail, pointer, f"{_example(parameters)} {names.vocabulary().listing()}")


def _example(parameters: Sequence[str]) -> str:
    listed = ", ".join(f'"<{name}>"' for name in parameters)
    return f'Write "inputs": [{listed}], each the name of an output or column.'


def _check_series(bound: Bound) -> None:
    """Refuse two series of one name; asking for the same thing twice is asking once."""
    rows: list[dict[str, Any]] = []
    for index, row in enumerate(bound.metrics):
        if row in rows:
            continue
        if row["name"] == "loss" or row["name"] in [other["name"] for other in rows]:
            detail = f"There are two series named {row['name']!r}."
            pointer = f"/training/metrics/{index}/name"
            bound.problems.append(Problem("duplicate_name", detail, pointer, 'Give it a "name" of its own.'))
        rows.append(row)
    bound.metrics = rows
