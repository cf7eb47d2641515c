"""Tries loss and metrics once on what a trial forward returned, before a job is queued."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest, Problem
from services.modules.formulas import Outputs, resolve_outputs
from services.modules.measures import Measure
from services.modules.objective import CLASS_LOSSES, CLIENT_ERRORS, LossFunction, code_of
from services.modules.samples import sample_inputs
from services.training.sources import vocabulary_of

_TELLING = ("shape_mismatch", "dtype_mismatch", "loss_not_scalar")


def try_objective(
    objective: Mapping[str, Any], outputs: Iterable[str], result: Outputs, *, batch: int, trains: bool = True
) -> dict[str, Any]:
    """Return the shapes of the loss's terms, and how many ``classes`` a loss of class numbers compares.

    ``result`` is what forward returned, on the meta device or a real one; ``objective`` has ``loss``, ``metrics``,
    ``names`` and ``columns``, as a resolved plan has them; ``outputs`` are the names that the definition declares.
    Where nothing ``trains``, the loss needs no gradient either.

    Raises:
        InvalidRequest: with everything that cannot work, each at its expression.
    """
    vocabulary = vocabulary_of(tuple(outputs), objective["names"])
    columns = _columns(objective["columns"], batch)
    resolve_outputs(result, vocabulary)
    problems: list[Problem] = []
    shapes: dict[str, Any] = {}
    try:
        with torch.set_grad_enabled(trains):
            shapes = _try_loss(objective["loss"], vocabulary, result, columns)
    except InvalidRequest as error:
        problems += error.problems
    compared = objective["loss"].get("inputs", [])[:2] if problems else None
    for index, metric in enumerate(objective["metrics"]):
        if compared and metric.get("inputs") == compared:
            continue  # it would only say again what is wrong with the loss
        try:
            measure = Measure(metric, index, vocabulary, loss_type=objective["loss"]["type"], device="cpu")
            _try_metric(measure, _real(result), columns, batch)
        except InvalidRequest as error:
            problems += error.problems
    if problems:
        raise InvalidRequest(problems)
    return shapes


def _columns(columns: Mapping[str, Mapping[str, Any]], batch: int) -> dict[str, Tensor]:
    described = {name: {"dtype": one["dtype"], "shape": ["B", *one["shape"]]} for name, one in columns.items()}
    samples = sample_inputs(described, batch=batch, device="cpu")
    return {name: one for name, one in zip(described, samples, strict=True) if one is not None}


def _try_loss(
    loss: Mapping[str, Any],
    vocabulary: Vocabulary,
    result: Outputs,
    columns: Mapping[str, Tensor],
) -> dict[str, Any]:
    function = LossFunction(loss, vocabulary, "cpu")
    outputs = _real(result)
    classes: dict[str, Any] = {}

    def count(values: tuple[Any, ...]) -> None:
        if loss["type"] in CLASS_LOSSES and isinstance(values[0], Tensor) and values[0].dim() > 1:
            classes["classes"] = values[0].shape[1]

    try:
        total, terms = function.first(outputs, columns, before=count)
    except InvalidRequest:
        raise
    except CLIENT_ERRORS as error:
        problem = function.problem_of(error, outputs, columns)
        if _minds_the_numbers(error) or (isinstance(error, ValueError) and problem.code not in _TELLING):
            return classes  # the first real batch will tell the rest
        raise InvalidRequest([problem]) from None
    shapes = {name: list(term.shape) for name, term in zip(function.terms, terms, strict=True)}
    return {**classes, **shapes, "loss": list(total.shape)}


def _try_metric(measure: Measure, outputs: Outputs, columns: Mapping[str, Tensor], batch: int) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the numbers are made up
        try:
            measure.update(outputs, columns, batch)
        except InvalidRequest as error:
            if not _minds_the_numbers(error.__cause__):
                raise
            return
        try:
            measure.compute()
        except InvalidRequest as error:
            if error.__cause__ is None:  # else it minds the numbers
                raise


def _minds_the_numbers(cause: BaseException | None) -> bool:
    """Tell whether an exception may be about the made-up numbers, and not about shapes and types."""
    return isinstance(cause, RuntimeError | ArithmeticError) and code_of(cause) not in _TELLING


def _real(value: Any) -> Any:  # noqa: ANN401 - models return anything
    """Return the outputs as real tensors between 0 and 1, with gradients where forward gives them."""
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return torch.zeros(value.shape, dtype=value.dtype)
        generator = torch.Generator().manual_seed(0)
        made = torch.rand(value.shape, generator=generator).to(value.dtype)
        return made.requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {name: _real(item) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[_real(item) for item in value])
    return type(value)(map(_real, value)) if isinstance(value, list | tuple) else value
