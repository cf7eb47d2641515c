"""Loss and metrics of predicted rows that have what they are compared with: by the code that training uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest, Problem
from services.modules.data.parts import Batch
from services.modules.formulas import Outputs
from services.modules.measures import Measure, build_measures
from services.modules.objective import CLIENT_ERRORS, LossFunction
from services.modules.predict.plain import plain
from services.modules.tally import Tally
from services.training.sources import loss_formulas, metric_formulas

_CPU = torch.device("cpu")


class Scores:
    """Adds up batches of one request."""

    def __init__(self, loss: LossFunction, measures: list[Measure], pointer: str) -> None:
        self._loss = loss
        self._tally = Tally(loss.terms, measures, averages=loss.averages, device=_CPU)
        self._is_first = True
        self._pointer = pointer

    def add(self, outputs: Outputs, batch: Batch) -> None:
        """Take in a batch.

        Raises:
            InvalidRequest: outputs and targets do not fit, as in a data set with other classes.
        """
        try:
            call = self._loss.first if self._is_first else self._loss
            total, terms = call(outputs, batch.columns)
            self._is_first = False
            self._tally.add([total, *terms], outputs, batch.columns, batch.rows)
        except InvalidRequest as error:
            raise InvalidRequest([self._moved(problem) for problem in error.problems]) from None
        except CLIENT_ERRORS as error:
            raise InvalidRequest([self._moved(self._loss.problem_of(error, outputs, batch.columns))]) from None

    def compute(self) -> dict[str, Any]:
        """Return ``loss``, its terms and the metrics by name; text for what is no finite number."""
        try:
            return {name: plain(value) for name, value in self._tally.compute().items()}
        except InvalidRequest as error:
            raise InvalidRequest([self._moved(problem) for problem in error.problems]) from None

    def _moved(self, problem: Problem) -> Problem:
        """Point at the rows: the plan's expressions are no part of this request."""
        detail = f"Loss and metrics cannot be computed: {problem.detail}"
        hint = 'Leave them out with "metrics": false.'
        return Problem(problem.code, detail, self._pointer, hint)


class Scoring:
    """The loss and the metrics of a checkpoint's plan."""

    def __init__(self, plan: Mapping[str, Any], vocabulary: Vocabulary) -> None:
        self._loss = LossFunction(plan["loss"], vocabulary, _CPU)
        self._measures = build_measures(plan, vocabulary, _CPU)
        self.scales = self._loss.scales
        formulas = [loss_formulas(plan["loss"], vocabulary)]
        formulas += [metric_formulas(metric, index, vocabulary) for index, metric in enumerate(plan["metrics"])]
        self.columns = {
            vocabulary.columns[name] for one in formulas for name in one.names if name in vocabulary.columns
        }
        """What rows must have to be scored."""

    def begin(self, pointer: str) -> Scores:
        """Return sums that begin at zero."""
        return Scores(self._loss, self._measures, pointer)
