"""The loss of a job, and the checks that a first output makes possible before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest, TrainingFailure, user_failure
from services.modules.data.parts import Batch, Part
from services.modules.formulas import Outputs
from services.modules.objective import CLASS_LOSSES, CLIENT_ERRORS, LossFunction
from worker.trainer.failures import is_out_of_memory

_UNIT_LOSSES = ("BCEWithLogitsLoss", "BCELoss", "MultiLabelSoftMarginLoss")
_SIGN_LOSSES = ("HingeEmbeddingLoss", "SoftMarginLoss", "MarginRankingLoss", "CosineEmbeddingLoss")
_FIRST = {"CTCLoss": 1, "MarginRankingLoss": 2, "CosineEmbeddingLoss": 2}
_OUT_OF_BOUNDS = "is out of bounds"
Found = tuple[Tensor, tuple[Tensor, ...]]


class Objective:
    """``compute(outputs, batch)`` returns the loss and its terms; the first call checks all targets against the output.

    ``terms`` are the names of the terms, in the order in which ``compute`` returns them.
    """

    def __init__(
        self, section: Mapping[str, Any], parts: Mapping[str, Part], device: torch.device, *, vocabulary: Vocabulary
    ) -> None:
        self.type: str = section["type"]
        self.loss = LossFunction(section, vocabulary, device)
        self.terms, self.averages, self.scales = self.loss.terms, self.loss.averages, self.loss.scales
        self._section = section
        self._target = _target_column(section, vocabulary)
        self._parts = parts
        self.compute: Callable[[Outputs, Batch], Found] = self._check_and_compute

    def _compute(self, outputs: Outputs, batch: Batch) -> Found:
        try:
            return self.loss(outputs, batch.columns)
        except CLIENT_ERRORS as error:
            if is_out_of_memory(error):
                raise
            raise self._failure(error, outputs, batch) from error

    def _check_and_compute(self, outputs: Outputs, batch: Batch) -> Found:
        try:
            found = self.loss.first(outputs, batch.columns, before=self._check_rows)
        except InvalidRequest:
            raise
        except CLIENT_ERRORS as error:
            if is_out_of_memory(error):
                raise
            raise self._failure(error, outputs, batch) from error
        self.compute = self._compute
        return found

    def _failure(self, error: Exception, outputs: Outputs, batch: Batch) -> TrainingFailure:
        problem = self.loss.problem_of(error, outputs, batch.columns)
        code = "label_out_of_range" if _OUT_OF_BOUNDS in str(error) else problem.code
        column = f" (column {problem.column})" if problem.column else ""
        return user_failure(code, f"{problem.detail}{column}", hint=problem.hint, pointer=problem.pointer)

    def _check_rows(self, values: tuple[Any, ...]) -> None:
        """Look at every row of the target, where the loss compares with a column as it stands."""
        if self._target is None or not isinstance(values[0], Tensor):
            return
        if self.type in CLASS_LOSSES and not self._is_floating():
            self._check_classes(values[0].shape[1])
        elif self.type in _UNIT_LOSSES:
            self._refuse(lambda values: (values < 0) | (values > 1), "target_out_of_range", "0 … 1")
        elif self.type in _SIGN_LOSSES:
            self._refuse(lambda values: values.abs() != 1, "target_out_of_range", "-1 and 1")
        elif self.type in ("MultiLabelMarginLoss", "CTCLoss"):
            classes = values[0].shape[-1]
            least = -1 if self.type == "MultiLabelMarginLoss" else 0
            text = f"{least} … {classes - 1}, for the model returns {classes} classes"
            self._refuse(lambda values: (values < least) | (values >= classes), "label_out_of_range", text)

    def _is_floating(self) -> bool:
        return any(part.columns[self._target or ""].is_floating_point() for part in self._parts.values())

    def _check_classes(self, classes: int) -> None:
        ignored, weight = self._section.get("ignore_index", -1), self._section.get("weight")
        if weight is not None and len(weight) != classes:
            detail = f"The loss has {len(weight)} weights, but the model returns {classes} classes."
            raise user_failure("invalid_argument", detail, pointer="/training/loss/weight")
        text = f"0 … {classes - 1}, for the model returns {classes} classes"
        wrong = lambda values: ((values < 0) | (values >= classes)) & (values != ignored)  # noqa: E731
        self._refuse(wrong, "label_out_of_range", text)

    def _refuse(self, is_wrong: Callable[[Tensor], Tensor], code: str, range_text: str) -> None:
        for part in self._parts.values():
            wrong = is_wrong(part.columns[self._target or ""])
            if bool(wrong.any()):
                index = int(wrong.nonzero()[0, 0])
                detail = f"The target in row {int(part.rows[index])} lies outside {range_text}."
                hint = "Mend the target, or the size of the last layer."
                raise user_failure(code, detail, hint=hint, pointer="/data/target")


def _target_column(section: Mapping[str, Any], vocabulary: Vocabulary) -> str | None:
    """Return the column that a named loss compares with, if it is a column as it stands."""
    inputs, place = section.get("inputs") or [], _FIRST.get(section["type"], 1)
    return vocabulary.columns.get(inputs[place]) if place < len(inputs) else None
