"""The loss, and the checks that a first output makes possible before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from services.errors import TrainingFailure
from worker.trainer.data import Batch, Part
from worker.trainer.failures import user_failure

_TENSOR_ARGUMENTS = ("weight", "pos_weight")
_LOSSES: dict[str, type[nn.Module]] = {
    loss.__name__: loss
    for loss in (
        nn.CrossEntropyLoss,
        nn.NLLLoss,
        nn.MultiMarginLoss,
        nn.MSELoss,
        nn.L1Loss,
        nn.SmoothL1Loss,
        nn.HuberLoss,
        nn.BCEWithLogitsLoss,
        nn.BCELoss,
        nn.PoissonNLLLoss,
    )
}
_CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
_UNIT_LOSSES = ("BCEWithLogitsLoss", "BCELoss")


class Objective:
    """``compute(outputs, batch)`` returns the loss and its terms; the first call checks all targets against the output.

    ``terms`` are the names of the terms, in the order in which ``compute`` returns them.
    """

    def __init__(
        self, section: Mapping[str, Any], parts: Mapping[str, Part], device: torch.device, *, target: str
    ) -> None:
        self.type: str = section["type"]
        self.averages = section["reduction"] == "mean"
        self.terms: tuple[str, ...] = ()
        self.target = target
        self.loss: Callable[[Tensor, Tensor], Tensor] = _build(section, device)
        self._section = section
        self._parts = parts
        self.compute: Callable[[Any, Batch], tuple[Tensor, tuple[Tensor, ...]]] = self._check_and_compute

    def _compute(self, output: Any, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ANN401
        return self.loss(output, batch.columns[self.target]), ()

    def _check_and_compute(self, output: Any, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ANN401
        target = batch.columns[self.target]
        if not isinstance(output, Tensor):
            detail = f"The model returned a {type(output).__name__}, but {self.type} needs one tensor."
            raise user_failure("unexpected_output", detail, hint="Return one tensor from `forward`.", pointer="/model")
        if self.type in _CLASS_LOSSES:
            self._check_classes(output, target)
        elif output.shape != target.shape:
            raise _shapes_differ(self.type, output, target)
        elif self.type in _UNIT_LOSSES:
            self._check_rows(lambda values: (values < 0) | (values > 1), "target_out_of_range", "0 … 1")
        self.compute = self._compute
        return self._compute(output, batch)

    def _check_classes(self, output: Tensor, target: Tensor) -> None:
        if output.dim() < 2 or (output.shape[0], *output.shape[2:]) != tuple(target.shape):
            raise _shapes_differ(self.type, output, target)
        classes, ignored = output.shape[1], self._section.get("ignore_index", -1)
        weight = self._section.get("weight")
        if weight is not None and len(weight) != classes:
            detail = f"The loss has {len(weight)} weights, but the model returns {classes} classes."
            raise user_failure("invalid_argument", detail, pointer="/training/loss/weight")
        self._check_rows(
            lambda values: ((values < 0) | (values >= classes)) & (values != ignored),
            "label_out_of_range",
            f"0 … {classes - 1}, for the model returns {classes} classes",
        )

    def _check_rows(self, is_wrong: Callable[[Tensor], Tensor], code: str, range_text: str) -> None:
        for part in self._parts.values():
            wrong = is_wrong(part.columns[self.target])
            if bool(wrong.any()):
                index = int(wrong.nonzero()[0, 0])
                detail = f"The target in row {int(part.rows[index])} lies outside {range_text}."
                raise user_failure(code, detail, hint="Mend the target, or the size of the last layer.")


def _build(section: Mapping[str, Any], device: torch.device) -> nn.Module:
    arguments = {name: value for name, value in section.items() if name != "type"}
    for name in _TENSOR_ARGUMENTS:
        if arguments.get(name) is not None:
            arguments[name] = torch.tensor(arguments[name], dtype=torch.float32)
    return _LOSSES[section["type"]](**arguments).to(device)


def _shapes_differ(loss: str, output: Tensor, target: Tensor) -> TrainingFailure:
    have, want = list(output.shape), [str(size) for size in target.shape]
    if loss in _CLASS_LOSSES:
        want.insert(1, "classes")
    return user_failure(
        "shape_mismatch",
        f"The model returns {have}, but {loss} needs [{', '.join(want)}] for this target.",
        hint=f"Let the model return [{', '.join(want[1:])}] for each row.",
        pointer="/model",
    )
