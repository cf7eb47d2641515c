"""What is minimised: a loss of torch or expressions, as one function of the model's outputs and the batch's columns."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from services.definition.problems import Place
from services.definition.vocabulary import Vocabulary
from services.errors import InvalidRequest, Problem
from services.modules.formulas import Columns, Compiled, Outputs, build_criterion
from services.modules.loss_shapes import check_call
from services.modules.words import describe, first_line, shown_shapes
from services.training.sources import LOSS, TERMS, loss_formulas

_SHAPE_WORDS = re.compile(
    r"shape|size|dimension|broadcast|must match|mat1|matri|out of range|unpack|\dD\b", re.IGNORECASE
)
_DTYPE_WORDS = re.compile(r"dtype|scalar type|same type|not implemented for '", re.IGNORECASE)
CLASS_LOSSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
_BROADCASTS = "Using a target size"
CLIENT_ERRORS = (ValueError, TypeError, RuntimeError, IndexError, KeyError, AttributeError, ArithmeticError)
"""What an expression of a request, or a loss that is called with the wrong things, may raise."""


class LossFunction:
    """``loss(outputs, columns)`` returns what is minimised and the terms, all of them numbers on the device.

    The first batch goes through ``first``, which also finds out what the outputs are and checks what comes out.
    """

    def __init__(self, loss: Mapping[str, Any], vocabulary: Vocabulary, device: torch.device | str) -> None:
        self.section = loss
        self.terms: tuple[str, ...] = tuple(loss["terms"]) if loss["type"] == TERMS else ()
        self.averages = loss.get("reduction") != "sum"
        self.scales = not self.terms and self.averages
        """Whether a larger batch gives the same loss but for chance: expressions may add up rows."""
        self._compiled = Compiled(loss_formulas(loss, vocabulary), vocabulary)
        self._criterion: nn.Module | None = None if loss["type"] == TERMS else build_criterion(loss, device)

    def __call__(self, outputs: Outputs, columns: Columns) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the loss and its terms; a term of many numbers is shown as their mean."""
        return self._put_together(self._compiled(outputs, columns))

    def _put_together(self, values: tuple[Any, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self._criterion is not None:
            return self._criterion(*values), ()
        return values[-1], tuple([_number(value, values[-1]) for value in values[:-1]])

    def first(
        self, outputs: Outputs, columns: Columns, before: Callable[[tuple[Any, ...]], None] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Do the same for the first time; ``before`` sees what a named loss is about to be called with.

        Raises:
            InvalidRequest: names that are not there, shapes that torch would broadcast, or a total that is not one
                number with a gradient. What torch itself raises comes as it is; `problem_of` explains it.
        """
        self._compiled.bind(outputs)
        named = self._compiled.named_values(outputs, columns)
        with warnings.catch_warnings(record=True) as caught, _Broadcasting(named):
            warnings.simplefilter("always")
            values = self._compiled(outputs, columns)  # once: it may draw random numbers
            if self._criterion is not None:
                problem = check_call(self.section, values)
                if problem is not None:
                    raise InvalidRequest([problem])
                if before is not None:
                    before(values)
            else:
                self._check_total(values[-1])
                self._check_terms(values[:-1])
            total, terms = self._put_together(values)
        if any(_BROADCASTS in str(one.message) for one in caught):
            detail = f"Two different shapes meet in the loss, and torch would broadcast them: {shown_shapes(named)}."
            raise InvalidRequest([Problem("shape_mismatch", detail, self._total_pointer(), _RESHAPE)])
        self._check_total(total)
        return total, terms

    def problem_of(self, error: Exception, outputs: Outputs, columns: Columns) -> Problem:
        """Return what an exception means, at the expression that it came from."""
        if isinstance(error, InvalidRequest):
            return error.problems[0]
        found = self._compiled.place_of(error)
        place = found or (LOSS if self._criterion is not None else Place(self._total_pointer()))
        text, shapes = first_line(error), shown_shapes(self._compiled.named_values(outputs, columns))
        what = "The loss" if found is None or self._criterion is not None else "This expression"
        code = code_of(error)
        hint = _RESHAPE if code == "shape_mismatch" else None
        return Problem(code, f"{what} fails: {text} ({shapes})", place.pointer, hint, place.column)

    def _total_pointer(self) -> str:
        return "/training/loss/total" if self.section.get("total") else "/training/loss"

    def _check_total(self, total: Any) -> None:  # noqa: ANN401 - expressions give anything
        pointer, hint = self._total_pointer(), None
        if not isinstance(total, Tensor):
            code, detail = "loss_not_scalar", f"The loss is {describe(total)}, not a tensor."
        elif total.dim():
            code, detail, hint = "loss_not_scalar", f"The loss is {describe(total)}; it must be one number.", _REDUCE
        elif not total.is_floating_point():
            code, detail = "dtype_mismatch", f"The loss is {describe(total)}; it must be a real number."
            hint = "Counts and comparisons have no gradient: compute it from the outputs themselves."
        elif torch.is_grad_enabled() and not total.requires_grad:
            code, detail = "loss_without_gradient", "The loss does not depend on any parameter of the model."
            hint = "Use an output of the model in it, without detach()."
        else:
            return
        raise InvalidRequest([Problem(code, detail, pointer, hint)])

    def _check_terms(self, values: tuple[Any, ...]) -> None:
        for name, value in zip(self.terms, values, strict=True):
            if not isinstance(value, Tensor | int | float):
                detail = f"The term {name!r} is {describe(value)}; a term is a tensor or a number."
                pointer = LOSS.child("terms", name).pointer
                raise InvalidRequest([Problem("loss_not_scalar", detail, pointer, _REDUCE)])


_RESHAPE = "Let both have the same shape: reshape one of them, for example with .squeeze(1) or .unsqueeze(1)."
_REDUCE = "End it with .mean() or .sum()."


def code_of(error: Exception) -> str:
    """Return the code of an exception that an expression raised."""
    if isinstance(error, TypeError | AttributeError | KeyError):
        return "expression_failed"
    text = str(error)
    if _DTYPE_WORDS.search(text):
        return "dtype_mismatch"
    if _SHAPE_WORDS.search(text) or _BROADCASTS in text:
        return "shape_mismatch"
    return "expression_failed"


_ELEMENTWISE = (
    "add", "radd", "sub", "rsub", "mul", "rmul", "div", "truediv", "rtruediv", "eq", "ne", "lt", "le", "gt", "ge",
    "maximum", "minimum", "pow", "atan2", "fmod", "remainder", "xlogy", "logaddexp", "mse_loss", "l1_loss",
    "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div",
    "poisson_nll_loss", "soft_margin_loss", "hinge_embedding_loss",
)  # fmt: skip


class _Broadcasting(TorchFunctionMode):
    """Refuses two outputs or columns that meet as they stand and broadcast to something larger than either.

    [B, 1] and [B] give [B, B]: every row is compared with every other, and no error tells.
    """

    def __init__(self, named: Mapping[str, Any]) -> None:
        super().__init__()
        self._names = {id(value): name for name, value in named.items() if isinstance(value, Tensor)}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        is_elementwise = getattr(function, "__name__", "").strip("_") in _ELEMENTWISE
        if is_elementwise and len(args) == 2 and id(args[0]) in self._names and id(args[1]) in self._names:
            self._compare(*args)
        return function(*args, **(kwargs or {}))

    def _compare(self, left: Tensor, right: Tensor) -> None:
        if not left.dim() or not right.dim() or left.dim() == right.dim() or left.shape[0] != right.shape[0]:
            return
        longest = max(left.dim(), right.dim())
        pairs = [((1,) * (longest - one.dim()) + tuple(one.shape)) for one in (left, right)]
        if any(a != b and 1 not in (a, b) for a, b in zip(*pairs, strict=True)):
            return  # torch says so itself
        shape = [max(a, b) for a, b in zip(*pairs, strict=True)]
        if math.prod(shape) > max(left.numel(), right.numel()):
            names = " and ".join(self._names[id(one)] for one in (left, right))
            raise RuntimeError(f"{names} have different shapes and would broadcast to {shape}")


def _number(value: Any, total: Tensor) -> Tensor:  # noqa: ANN401 - expressions give anything
    if not isinstance(value, Tensor):
        return torch.tensor(float(value), device=total.device)
    return value if not value.dim() else value.double().mean()
