"""The losses a plan may name: those of ``torch.nn``, with the arguments of the classes of the same names, or terms.

Left out are `AdaptiveLogSoftmaxWithLoss` and `LinearCrossEntropyLoss`, which have weights and so belong into a model,
`TripletMarginWithDistanceLoss`, whose argument is a function, and the deprecated `NLLLoss2d`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from services.definition.limits import MAX_TEXT_CHARACTERS
from services.training.model import Component, Section

# What the target must hold. "class": int64 class numbers; "real": floats in the shape of the output; "sign": 1 or -1;
# "labels": int64, class numbers and then -1; "tokens": int64 of any shape; "none": there is no target.
TargetKind = Literal["class", "real", "sign", "labels", "tokens", "none"]
Weights = Annotated[list[Annotated[float, Field(ge=0, le=1e12)]], Field(min_length=1, max_length=65_536)]
Expression = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
TermName = Annotated[str, Field(min_length=1, max_length=100)]
ClassIndex = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Margin = Annotated[float, Field(ge=-1e6, le=1e6)]
Epsilon = Annotated[float, Field(gt=0, le=1)]

MAX_TERMS = 32


class Loss(Component):
    """A loss; ``reduction`` says how the rows of a batch are put together."""

    target_kind: ClassVar[TargetKind] = "real"
    forward: ClassVar[tuple[str, ...]] = ("input", "target")
    """What the class is called with."""
    inputs: Annotated[list[Expression], Field(min_length=1, max_length=8)] | None = Field(
        None, description="What it is called with, in order: names of outputs and columns, or expressions of them."
    )
    reduction: Literal["mean", "sum"] = "mean"

    def arguments(self) -> dict[str, Any]:
        """Return what the class is constructed with."""
        return self.model_dump(exclude={"type", "inputs"})


class CrossEntropyLoss(Loss):
    """Cross entropy of logits [B, classes, …] and class numbers [B, …]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["CrossEntropyLoss"]
    weight: Weights | None = Field(None, description="One weight a class.")
    ignore_index: ClassIndex = -100
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0


class NLLLoss(Loss):
    """Negative log likelihood of log probabilities [B, classes, …] and class numbers [B, …]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["NLLLoss"]
    weight: Weights | None = Field(None, description="One weight a class.")
    ignore_index: ClassIndex = -100


class MultiMarginLoss(Loss):
    """Margin loss of scores [B, classes] and class numbers [B]."""

    target_kind: ClassVar[TargetKind] = "class"
    type: Literal["MultiMarginLoss"]
    p: Literal[1, 2] = 1
    margin: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    weight: Weights | None = Field(None, description="One weight a class.")


class MultiLabelMarginLoss(Loss):
    """Margin loss of scores [B, classes] and several class numbers a row, [B, classes], filled up with -1."""

    target_kind: ClassVar[TargetKind] = "labels"
    type: Literal["MultiLabelMarginLoss"]


class MultiLabelSoftMarginLoss(Loss):
    """One-versus-all entropy of logits [B, classes] and targets of 0 and 1 in the same shape."""

    type: Literal["MultiLabelSoftMarginLoss"]
    weight: Weights | None = Field(None, description="One weight a class.")


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
    weight: Weights | None = Field(None, description="Weight of each output.")
    pos_weight: Weights | None = Field(None, description="Weight of the positive side, one an output.")


class BCELoss(Loss):
    """Binary cross entropy of probabilities and targets in 0 … 1."""

    type: Literal["BCELoss"]
    weight: Weights | None = Field(None, description="Weight of each output.")


class PoissonNLLLoss(Loss):
    """Negative log likelihood of counts under Poisson rates."""

    forward: ClassVar[tuple[str, ...]] = ("log_input", "target")
    type: Literal["PoissonNLLLoss"]
    log_input: bool = True
    full: bool = False
    eps: Epsilon = 1e-8


class GaussianNLLLoss(Loss):
    """Negative log likelihood of targets under a normal distribution: mean, target, variance (above 0)."""

    forward: ClassVar[tuple[str, ...]] = ("input", "target", "var")
    type: Literal["GaussianNLLLoss"]
    full: bool = False
    eps: Epsilon = 1e-6


class KLDivLoss(Loss):
    """Kullback-Leibler divergence: log probabilities and target probabilities; "batchmean" is the mathematical one."""

    type: Literal["KLDivLoss"]
    reduction: Literal["mean", "sum", "batchmean"] = "mean"  # type: ignore[assignment]  # torch's own third way
    log_target: bool = False


class HingeEmbeddingLoss(Loss):
    """Distances [B] that are to be small where the target is 1, and above ``margin`` where it is -1."""

    target_kind: ClassVar[TargetKind] = "sign"
    type: Literal["HingeEmbeddingLoss"]
    margin: Margin = 1.0


class SoftMarginLoss(Loss):
    """Logistic loss of scores and targets of 1 and -1."""

    target_kind: ClassVar[TargetKind] = "sign"
    type: Literal["SoftMarginLoss"]


class MarginRankingLoss(Loss):
    """Two scores [B], of which the first is to be higher by ``margin`` where the target is 1, lower where it is -1."""

    target_kind: ClassVar[TargetKind] = "sign"
    forward: ClassVar[tuple[str, ...]] = ("input1", "input2", "target")
    type: Literal["MarginRankingLoss"]
    margin: Margin = 0.0


class CosineEmbeddingLoss(Loss):
    """Two embeddings [B, size] that are to be alike where the target [B] is 1, and unlike where it is -1."""

    target_kind: ClassVar[TargetKind] = "sign"
    forward: ClassVar[tuple[str, ...]] = ("input1", "input2", "target")
    type: Literal["CosineEmbeddingLoss"]
    margin: Margin = 0.0


class TripletMarginLoss(Loss):
    """Three embeddings [B, size]: the anchor is to be nearer to the positive than to the negative by ``margin``."""

    target_kind: ClassVar[TargetKind] = "none"
    forward: ClassVar[tuple[str, ...]] = ("anchor", "positive", "negative")
    type: Literal["TripletMarginLoss"]
    margin: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    p: Annotated[float, Field(gt=0, le=100)] = 2.0
    eps: Epsilon = 1e-6
    swap: bool = False


class CTCLoss(Loss):
    """Connectionist temporal classification: log probabilities [T, B, classes], targets, and the lengths of both."""

    target_kind: ClassVar[TargetKind] = "tokens"
    forward: ClassVar[tuple[str, ...]] = ("log_probs", "targets", "input_lengths", "target_lengths")
    type: Literal["CTCLoss"]
    blank: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    zero_infinity: bool = False


class TermsLoss(Section):
    """A loss of one's own: expressions over outputs, columns and other terms. Each term is a series beside ``loss``."""

    type: Literal["terms"] = "terms"
    terms: Annotated[dict[TermName, Expression], Field(min_length=1, max_length=MAX_TERMS)]
    total: Expression | None = Field(None, description="What is minimised; by default the sum of the terms.")


def _name_the_kind(value: object) -> object:
    """Let ``{"terms": …}`` be known by that member alone."""
    return {"type": "terms", **value} if isinstance(value, dict) and "terms" in value else value


NamedLoss = (
    CrossEntropyLoss
    | NLLLoss
    | MultiMarginLoss
    | MultiLabelMarginLoss
    | MultiLabelSoftMarginLoss
    | MSELoss
    | L1Loss
    | SmoothL1Loss
    | HuberLoss
    | BCEWithLogitsLoss
    | BCELoss
    | PoissonNLLLoss
    | GaussianNLLLoss
    | KLDivLoss
    | HingeEmbeddingLoss
    | SoftMarginLoss
    | MarginRankingLoss
    | CosineEmbeddingLoss
    | TripletMarginLoss
    | CTCLoss
)
AnyLoss = Annotated[NamedLoss | TermsLoss, Field(discriminator="type"), BeforeValidator(_name_the_kind)]
LOSSES: dict[str, type[Loss]] = {loss.__name__: loss for loss in get_args(NamedLoss)}
