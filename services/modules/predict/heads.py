"""What a model's output means, as its loss tells: a class, several labels, or a value in the data's own unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from services.modules.data.tokenizing import text_of
from services.modules.predict.plain import plain
from services.modules.predict.units import Unit

Row = dict[str, Any]
_LIKELY = 0.5
CLASSES: dict[str, Callable[[Tensor], Tensor] | None] = {
    "CrossEntropyLoss": lambda values: values.softmax(1),
    "NLLLoss": torch.exp,
    "MultiMarginLoss": None,  # scores that no probability belongs to
}
UNITS: dict[str, Callable[[Tensor], Tensor]] = {
    "BCEWithLogitsLoss": torch.sigmoid,
    "MultiLabelSoftMarginLoss": torch.sigmoid,
    "BCELoss": lambda values: values,
}
REALS = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "GaussianNLLLoss", "PoissonNLLLoss")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of classes; one that has none is its number."""

    names: Sequence[str]

    def __call__(self, code: int) -> str | int | None:
        """Return the name of a class; None for a number that stands for none."""
        if code < 0:
            return None
        return self.names[code] if code < len(self.names) else code

    def nested(self, codes: Any) -> Any:  # noqa: ANN401 - numbers or nested lists of them
        """Return nested lists of names."""
        return [self.nested(code) for code in codes] if isinstance(codes, list) else self(codes)


class Head:
    """Turns what the loss compares into answers; the base has none, for only outputs can be told."""

    kind = "outputs"

    def answers(self, values: Tensor) -> list[Row]:
        """Return for each row what is predicted; ``values`` is [rows, …], float32 or float64."""
        return [{} for _ in values]

    def targets(self, values: Tensor) -> list[Any]:
        """Return for each row what should be predicted, in the same words."""
        rows: list[Any] = plain(values)
        return rows


class ClassHead(Head):
    """One class for each row, or for each place in a row: values are [rows, classes, …]."""

    kind = "classification"

    def __init__(self, loss_type: str, names: Names, top_k: int) -> None:
        self._chances = CLASSES[loss_type]
        self._names = names
        self._top_k = top_k

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``label`` and ``probabilities``, largest first; of places only the label's ``probability``."""
        labels: list[Any] = _without_nan(values.argmax(1), values.isnan().any(1))
        if self._chances is None:
            return [{"label": self._names.nested(label)} for label in labels]
        chances = self._chances(values)
        if values.dim() > 2:
            likely = plain(chances.amax(1))
            pairs = zip(labels, likely, strict=True)
            return [{"label": self._names.nested(label), "probability": chance} for label, chance in pairs]
        top = chances.topk(min(self._top_k, chances.shape[1]), dim=1)
        rows = zip(labels, top.indices.tolist(), plain(top.values), strict=True)
        return [_labelled(self._names, self._names(label), codes, likely) for label, codes, likely in rows]

    def targets(self, values: Tensor) -> list[Any]:
        """Return the names; of probabilities the likeliest."""
        codes = values.argmax(1) if values.is_floating_point() and values.dim() > 1 else values.long()
        return [self._names.nested(code) for code in codes.tolist()]


class TextHead(ClassHead):
    """A text for each row, token by token: values are [rows, tokens, length]."""

    def __init__(self, loss_type: str, tokenizer: str, top_k: int) -> None:
        super().__init__(loss_type, Names(()), top_k)
        self._tokenizer = tokenizer

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``label``, the text up to its first padding, and the ``probability`` of each token."""
        return [{**row, "label": self._text(row["label"])} for row in super().answers(values)]

    def targets(self, values: Tensor) -> list[Any]:
        """Return the texts."""
        return [self._text(ids) for ids in values.tolist()]

    def _text(self, ids: Sequence[int | None]) -> str:
        return text_of(self._tokenizer, (code or 0 for code in ids))


class BinaryHead(Head):
    """Yes or no for each row, or for each place in a row."""

    kind = "classification"

    def __init__(self, loss_type: str, names: Names) -> None:
        self._chances = UNITS[loss_type]
        self._names = names

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``label``, and the ``probabilities`` of both; of places the ``probability`` that it is so."""
        chances = self._chances(values)
        labels: list[Any] = _without_nan((chances > _LIKELY).long(), chances.isnan())
        if chances[0].numel() > 1:
            pairs = zip(labels, plain(chances), strict=True)
            return [{"label": self._names.nested(label), "probability": chance} for label, chance in pairs]
        flat, codes = chances.reshape(-1), [code for (code,) in _rows_of_one(labels)]
        both = plain(torch.stack([1 - flat, flat], 1))
        rows = zip(codes, both, strict=True)
        return [_labelled(self._names, self._names(code), *_sorted(chances)) for code, chances in rows]

    def targets(self, values: Tensor) -> list[Any]:
        """Return the names of 0 and 1."""
        flat = values.flatten(1) if values.dim() > 1 else values[:, None]
        codes = (flat > _LIKELY).long().tolist()
        return [self._names(row[0]) if len(row) == 1 else self._names.nested(row) for row in codes]


class LabelsHead(Head):
    """Any number of labels for each row: values are [rows, labels]."""

    kind = "multi_label"

    def __init__(self, loss_type: str, names: Names, top_k: int) -> None:
        self._chances = UNITS[loss_type]
        self._names = names
        self._top_k = top_k

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``labels``, those more likely than not, and ``probabilities``, largest first."""
        chances = self._chances(values)
        top = chances.topk(min(self._top_k, chances.shape[1]), dim=1)
        rows = zip(self.targets(chances), top.indices.tolist(), plain(top.values), strict=True)
        return [
            {"labels": labels, "probabilities": _named(self._names, codes, likely)} for labels, codes, likely in rows
        ]

    def targets(self, values: Tensor) -> list[Any]:
        """Return the labels that are set."""
        return [[self._names(code) for code in row.nonzero().flatten().tolist()] for row in values > _LIKELY]


class SignHead(Head):
    """One of two sides, 1 and -1."""

    kind = "classification"

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``label``, the side."""
        flat = values.reshape(len(values), -1)
        sides = torch.where(flat >= 0, 1, -1).tolist()
        return [{"label": row[0] if len(row) == 1 else row} for row in sides]


class ValueHead(Head):
    """A value for each row in the unit that the data have."""

    kind = "regression"

    def __init__(self, loss: Mapping[str, Any], unit: Unit) -> None:
        self._is_log = loss["type"] == "PoissonNLLLoss" and loss["log_input"]
        self._unit = unit

    def answers(self, values: Tensor) -> list[Row]:
        """Return ``value``: a number, nested lists, or an object of the columns that were put side by side."""
        return [{"value": value} for value in self._unit.told(values.exp() if self._is_log else values)]

    def deviations(self, variances: Tensor) -> list[Any]:
        """Return standard deviations in the same unit."""
        return self._unit.told(variances.clamp(min=0).sqrt(), centered=False)

    def targets(self, values: Tensor) -> list[Any]:
        """Return the values in the same unit."""
        return self._unit.told(values)


def _labelled(names: Names, label: str | int | None, codes: Sequence[int], likely: Sequence[Any]) -> Row:
    row: Row = {"label": label}
    return row | {"probabilities": _named(names, codes, likely)} if len(codes) else row


def _named(names: Names, codes: Sequence[int], likely: Sequence[Any]) -> dict[str, Any]:
    return {str(names(code)): chance for code, chance in zip(codes, likely, strict=True)}


def _sorted(chances: Sequence[Any]) -> tuple[list[int], list[Any]]:
    codes = [1, 0] if chances[1] > chances[0] else [0, 1]
    return codes, [chances[code] for code in codes]


def _rows_of_one(labels: list[Any]) -> list[list[Any]]:
    """Return a list of one code a row, however deep it lay."""
    rows = []
    for label in labels:
        while isinstance(label, list):
            (label,) = label  # noqa: PLW2901 - one level deeper
        rows.append([label])
    return rows


def _without_nan(codes: Tensor, is_nan: Tensor) -> list[Any]:
    """Return class numbers, -1 (no class) where there was no number to choose by."""
    found: list[Any] = torch.where(is_nan, -1, codes).tolist()
    return found
