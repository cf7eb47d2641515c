"""The expressions of a resolved plan: of its loss, and of each of its metrics. Needs neither torch nor pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from services.definition.formulas import Formulas, Source, check_formulas
from services.definition.problems import Place
from services.definition.vocabulary import Vocabulary

LOSS = Place("/training/loss")
METRICS = Place("/training/metrics")
TERMS = "terms"
QUICK = ("accuracy", "top_5_accuracy", "mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2")
"""Metrics of our own, which cost next to nothing."""


def loss_formulas(loss: Mapping[str, Any], vocabulary: Vocabulary) -> Formulas:
    """Return what a named loss is called with, or the terms of a loss and their total, which comes last.

    Raises:
        InvalidRequest: an expression is not right.
    """
    return _checked(_loss_sources(loss), vocabulary)


def compared_formulas(loss: Mapping[str, Any], place: int, vocabulary: Vocabulary) -> Formulas:
    """Return one of the expressions that a named loss is called with: what the model says, or what it should.

    Raises:
        InvalidRequest: the expression is not right.
    """
    return _checked([_inputs(loss["inputs"], LOSS)[place]], vocabulary)


def metric_formulas(metric: Mapping[str, Any], index: int, vocabulary: Vocabulary) -> Formulas:
    """Return what a metric is called with, or its expression.

    Raises:
        InvalidRequest: an expression is not right.
    """
    place = METRICS.child(index)
    if "expression" in metric:
        return _checked([Source(None, metric["expression"], place.child("expression"))], vocabulary)
    return _checked(_inputs(metric["inputs"], place), vocabulary)


def _checked(sources: list[Source], vocabulary: Vocabulary) -> Formulas:
    columns = tuple(vocabulary.columns.items())
    return _remembered(tuple(sources), vocabulary.outputs, columns, vocabulary.open)


@lru_cache(maxsize=1024)
def _remembered(
    sources: tuple[Source, ...], outputs: tuple[str, ...], columns: tuple[tuple[str, str], ...], is_open: bool
) -> Formulas:
    """Check expressions once: most jobs of a service say the same few."""
    return check_formulas(sources, Vocabulary(outputs, dict(columns), is_open))


def _loss_sources(loss: Mapping[str, Any]) -> list[Source]:
    if loss["type"] != TERMS:
        return _inputs(loss["inputs"], LOSS)
    sources = [Source(name, text, LOSS.child("terms", name)) for name, text in loss["terms"].items()]
    if loss["total"] is None:
        return [*sources, Source(None, " + ".join(loss["terms"]), LOSS.child("terms"))]
    return [*sources, Source(None, loss["total"], LOSS.child("total"))]


def _inputs(texts: list[str], place: Place) -> list[Source]:
    return [Source(None, text, place.child("inputs", index)) for index, text in enumerate(texts)]


def vocabulary_of(outputs: tuple[str, ...], names: Mapping[str, str]) -> Vocabulary:
    """Return the names of a request; where the definition names no outputs, forward may return a dict of more."""
    return Vocabulary(outputs, names, open=not outputs)
