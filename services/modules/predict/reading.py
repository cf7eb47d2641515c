"""Which part of a model's output is the prediction, and what it is compared with: read off the loss of its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest
from services.modules.data.parts import Batch
from services.modules.data.preparing import Preparation
from services.modules.formulas import Compiled, Outputs
from services.modules.predict.heads import (
    CLASSES,
    REALS,
    UNITS,
    BinaryHead,
    ClassHead,
    Head,
    LabelsHead,
    Names,
    Row,
    SignHead,
    TextHead,
    ValueHead,
)
from services.modules.predict.units import Unit
from services.training.sources import compared_formulas

_SIGN = "SoftMarginLoss"
_VALUE, _TARGET = 0, 1
"""Where the losses that say what an output means have the output, and what it is compared with."""
_GAUSSIAN, _VARIANCE = "GaussianNLLLoss", 2
_TELLING = (*CLASSES, *UNITS, *REALS, _SIGN)


class Reading:
    """Reads predictions and targets off batches, all of one request; the first batch decides on the form."""

    def __init__(
        self,
        loss: Mapping[str, Any],
        vocabulary: Vocabulary,
        preparation: Preparation,
        *,
        vocabularies: Mapping[str, Sequence[str]],
        top_k: int,
    ) -> None:
        self.head = Head()
        self.target: str | None = None
        """The column that the prediction is about, if it is one as it stands."""
        self.names: Sequence[str] = ()
        self._loss = loss
        self._vocabulary = vocabulary
        self._preparation = preparation
        self._top_k = top_k
        self._value: Compiled | None = None
        self._variance: Compiled | None = None
        if loss["type"] in _TELLING:
            self.target = self._compared_column(_TARGET)
            self.names = self._class_names(vocabularies)

    def begin(self, outputs: Outputs, batch: Batch) -> None:
        """Find the prediction in the first batch; what is not one thing for each row is told as outputs."""
        if self._loss["type"] not in _TELLING:
            return
        value = self._compiled(_VALUE, batch)
        if value is None:
            return
        try:
            value.bind(outputs)
        except InvalidRequest:  # the plan was checked with this model, so only data without a column come here
            return
        self._value = value
        found = self._read(value, outputs, batch)
        if not isinstance(found, Tensor) or found.is_complex() or found.shape[:1] != (batch.rows,):
            self._value = None
            return
        self.head = self._choose(found)
        if self._loss["type"] == _GAUSSIAN:
            self._variance = self._compiled(_VARIANCE, batch)
            if self._variance is not None:
                self._variance.bind(outputs)

    def answers(self, outputs: Outputs, batch: Batch) -> list[Row]:
        """Return for each row of a batch what is predicted, and the ``target`` where the batch has it."""
        rows: list[Row] = [{} for _ in range(batch.rows)]
        if self._value is not None:
            rows = self.head.answers(_real(self._read(self._value, outputs, batch)))
        if self._variance is not None and isinstance(self.head, ValueHead):
            deviations = self.head.deviations(_real(self._read(self._variance, outputs, batch)))
            rows = [{**row, "deviation": one} for row, one in zip(rows, deviations, strict=True)]
        if self._value is not None and self.target is not None and self.target in batch.columns:
            targets = self.head.targets(batch.columns[self.target])
            rows = [{**row, "target": target} for row, target in zip(rows, targets, strict=True)]
        return rows

    def _compared_column(self, place: int) -> str | None:
        """Return the one column in the expression for the target."""
        names = compared_formulas(self._loss, place, self._vocabulary).names
        columns = {self._vocabulary.columns[name] for name in names if name in self._vocabulary.columns}
        return columns.pop() if len(columns) == 1 and len(names) == 1 else None

    def _class_names(self, vocabularies: Mapping[str, Sequence[str]]) -> Sequence[str]:
        recipe = self._preparation.recipes.get(self.target or "")
        sources = recipe["sources"] if recipe is not None else []
        return vocabularies.get(sources[0]["column"], ()) if len(sources) == 1 else ()

    def _tokenizer(self) -> str | None:
        """Return what made the target's tokens of texts, if anything did."""
        fitted = self._preparation.fitted.get(self.target or "")
        return fitted["sources"][0].get("tokenizer") if fitted is not None else None

    def _compiled(self, place: int, batch: Batch) -> Compiled | None:
        """Return an expression of the loss; None where it names columns that the batch does not have."""
        formulas = compared_formulas(self._loss, place, self._vocabulary)
        columns = [self._vocabulary.columns[name] for name in formulas.names if name in self._vocabulary.columns]
        return Compiled(formulas, self._vocabulary) if {*columns} <= batch.columns.keys() else None

    def _read(self, compiled: Compiled, outputs: Outputs, batch: Batch) -> Any:  # noqa: ANN401 - as expressions give
        return compiled(outputs, batch.columns)[0]

    def _choose(self, value: Tensor) -> Head:
        kind, names = self._loss["type"], Names(self.names)
        tokenizer = self._tokenizer()
        if kind in CLASSES and value.dim() == 3 and tokenizer is not None:
            return TextHead(kind, tokenizer, self._top_k)
        if kind in CLASSES and value.dim() > 1:
            return ClassHead(kind, names, self._top_k)
        if kind in UNITS:
            several = value.dim() == 2 and value.shape[1] > 1
            return LabelsHead(kind, names, self._top_k) if several else BinaryHead(kind, names)
        if kind == _SIGN:
            return SignHead()
        if kind in REALS:
            fitted = self._preparation.fitted.get(self.target or "")
            return ValueHead(self._loss, Unit(self._preparation.recipes.get(self.target or ""), fitted))
        return Head()


def _real(value: Tensor) -> Tensor:
    """Return at least float32: half precision has no ``topk`` worth its name, and too few digits to tell."""
    return value if value.dtype == value.double().dtype else value.float()
