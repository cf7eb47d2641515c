"""Whether what a loss of torch is called with has the right form: torch itself broadcasts where it should refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from services.errors import Problem
from services.modules.words import describe

_CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
_EQUAL = (
    "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "BCEWithLogitsLoss", "BCELoss", "PoissonNLLLoss",
    "GaussianNLLLoss", "KLDivLoss", "SoftMarginLoss", "HingeEmbeddingLoss", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
)  # fmt: skip
_RETURN = 'Return one tensor from `forward`, or say with "inputs" what the loss is to be called with.'


def check_call(loss: Mapping[str, Any], values: Sequence[Any]) -> Problem | None:
    """Return what is wrong with the values that a named loss is about to be called with, or None."""
    for index, value in enumerate(values):
        if not isinstance(value, Tensor | int | float):
            return _not_a_tensor(loss, index, value)
    output = values[0]
    if isinstance(output, Tensor) and not output.is_floating_point():
        kind = str(output.dtype).removeprefix("torch.")
        detail = f"{_subject(loss)} is {kind}, but {loss['type']} needs float32."
        return Problem("dtype_mismatch", detail, _pointer(loss), "Let the last layer return real numbers.")
    if loss["type"] not in (*_CLASSES, *_EQUAL) or not all(isinstance(one, Tensor) for one in values[:2]):
        return None
    return _check_pair(loss, output, values[1])


def _check_pair(loss: Mapping[str, Any], output: Tensor, target: Tensor) -> Problem | None:
    by_class = loss["type"] in _CLASSES and not (loss["type"] == "CrossEntropyLoss" and target.is_floating_point())
    want: list[int | str] = list(target.shape)
    if by_class:
        want.insert(1, "classes")
        fits = output.dim() >= 2 and (output.shape[0], *output.shape[2:]) == tuple(target.shape)
    else:
        fits = output.shape == target.shape
    if fits:
        return None
    row = ", ".join(map(str, want[1:]))
    have, words = list(output.shape), ", ".join(map(str, want))
    detail = (
        f"{_subject(loss)} has the shape {have}, but {loss['type']} needs [{words}] "
        f"for {loss['inputs'][1]}, which is {list(target.shape)}."
    )
    hint = f"Let the model return [{row}] for each row, or reshape in the loss's inputs."
    if output.shape == (*target.shape, 1):
        hint = (
            f"Let the model return [{row}] for each row, or make the target a feature, which has a dimension for its "
            'columns: "features": {"y": {"columns": [the target]}}, "target": "y".'
        )
    return Problem("shape_mismatch", detail, _pointer(loss), hint)


def _subject(loss: Mapping[str, Any]) -> str:
    text = loss["inputs"][0]
    return "What the model returns" if text == "output" else f"`{text}`"


def _pointer(loss: Mapping[str, Any]) -> str:
    return "/model" if loss["inputs"][0].isidentifier() else "/training/loss/inputs/0"


def _not_a_tensor(loss: Mapping[str, Any], index: int, value: Any) -> Problem:  # noqa: ANN401 - anything
    text = loss["inputs"][index]
    subject = "The model returns" if text == "output" else f"`{text}` is"
    detail = f"{subject} {describe(value)}, but {loss['type']} needs one tensor."
    pointer = "/model" if index == 0 and text.isidentifier() else f"/training/loss/inputs/{index}"
    return Problem("unexpected_output", detail, pointer, _RETURN)
