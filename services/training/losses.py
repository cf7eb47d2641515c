"""The losses a plan may name, with the arguments of the torch classes of the same names, and the target each needs."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from services.training.model import Component

# What a target column must hold. "class": int64 class numbers; "real": floats in the shape of the output.
TargetKind = Literal["class", "real"]
Weights = Annotated[list[Annotated[float, Field(ge=0, le=1e12)]], Field(min_length=1, max_length=65_536)]


class Loss(Component):
    """A loss; ``reduction`` says how the rows of a batch are put together."""

    target_kind: ClassVar[TargetKind] = "real"
    reduction: Literal["mean", "sum"] = "mean"


class CrossEntropyLoss(Loss):
    """Cross entropy of logits [B, classes, …] and class numbers [B, …]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["CrossEntropyLoss"]
    weight: Weights | None = Field(None, description="One weight a class.")
    ignore_index: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] = -100
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0


class NLLLoss(Loss):
    """Negative log likelihood of log probabilities [B, classes, …] and class numbers [B, …]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["NLLLoss"]
    weight: Weights | None = Field(None, description="One weight a class.")
    ignore_index: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] = -100


class MultiMarginLoss(Loss):
    """Margin loss of scores [B, classes] and class numbers [B]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["MultiMarginLoss"]
    p: Literal[1, 2] = 1
    margin: Annotated[float, Field(ge=0, le=1e6)] = 1.0


class MSELoss(Loss):
    """Mean squared error."""

    type: Literal["MSELoss"]


class L1Loss(Loss):
    """Mean absolute error."""

    type: Literal["L1Loss"]


class SmoothL1Loss(Loss):
    """Squared error below ``beta``, absolute error above."""

    type: Literal["SmoothL1Loss"]
    beta: Annotated[float, Field(ge=0, le=1e6)] = 1.0


class HuberLoss(Loss):
    """Squared error below ``delta``, ``delta`` times the absolute error above."""

    type: Literal["HuberLoss"]
    delta: Annotated[float, Field(gt=0, le=1e6)] = 1.0


class BCEWithLogitsLoss(Loss):
    """Binary cross entropy of logits and targets in 0 … 1."""

    type: Literal["BCEWithLogitsLoss"]
    pos_weight: Weights | None = Field(None, description="Weight of the positive side, one an output.")


class BCELoss(Loss):
    """Binary cross entropy of probabilities and targets in 0 … 1."""

    type: Literal["BCELoss"]


class PoissonNLLLoss(Loss):
    """Negative log likelihood of counts under Poisson rates."""

    type: Literal["PoissonNLLLoss"]
    log_input: bool = True
    full: bool = False
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8


AnyLoss = Annotated[
    CrossEntropyLoss
    | NLLLoss
    | MultiMarginLoss
    | MSELoss
    | L1Loss
    | SmoothL1Loss
    | HuberLoss
    | BCEWithLogitsLoss
    | BCELoss
    | PoissonNLLLoss,
    Field(discriminator="type"),
]
_CLASS_LOSSES = tuple(loss.__name__ for loss in (CrossEntropyLoss, NLLLoss, MultiMarginLoss))


def target_kind_of(loss_type: str) -> TargetKind:
    """Return what a loss, by its name, needs its target to hold."""
    return "class" if loss_type in _CLASS_LOSSES else "real"
