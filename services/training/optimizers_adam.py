"""Adam and its relatives: optimizers that scale each parameter's step by moments of its gradients."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.training.optimizer import Beta, Betas, Decay, Epsilon, LearningRate, OptimizerSection


def _betas() -> list[float]:
    return [0.9, 0.999]


class _AdamLike(OptimizerSection):
    lr: LearningRate = 1e-3
    betas: Betas = Field(default_factory=_betas)
    eps: Epsilon = 1e-8
    maximize: bool = False


class Adam(_AdamLike):
    """Adam (Kingma and Ba, 2015)."""

    type: Literal["Adam"]
    weight_decay: Decay = 0.0
    amsgrad: bool = False
    decoupled_weight_decay: bool = False


class AdamW(_AdamLike):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    type: Literal["AdamW"]
    weight_decay: Decay = 1e-2
    amsgrad: bool = False


class Adamax(_AdamLike):
    """Adam with the infinity norm (Kingma and Ba, 2015)."""

    type: Literal["Adamax"]
    lr: LearningRate = 2e-3
    weight_decay: Decay = 0.0


class NAdam(_AdamLike):
    """Adam with Nesterov momentum (Dozat, 2016)."""

    type: Literal["NAdam"]
    lr: LearningRate = 2e-3
    weight_decay: Decay = 0.0
    momentum_decay: Annotated[float, Field(ge=0, le=1)] = 4e-3
    decoupled_weight_decay: bool = False


class RAdam(_AdamLike):
    """Adam with a rectified adaptive rate (Liu et al., 2020)."""

    type: Literal["RAdam"]
    weight_decay: Decay = 0.0
    decoupled_weight_decay: bool = False


class SparseAdam(_AdamLike):
    """Adam for sparse gradients: every trained parameter must be that of an ``Embedding(…, sparse=True)``."""

    type: Literal["SparseAdam"]
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-8


class RMSprop(OptimizerSection):
    """RMSprop (Hinton, 2012)."""

    type: Literal["RMSprop"]
    lr: LearningRate = 1e-2
    alpha: Beta = 0.99
    eps: Epsilon = 1e-8
    weight_decay: Decay = 0.0
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.0
    centered: bool = False
    maximize: bool = False


class Adagrad(OptimizerSection):
    """Adagrad (Duchi, Hazan and Singer, 2011)."""

    type: Literal["Adagrad"]
    lr: LearningRate = 1e-2
    lr_decay: Decay = 0.0
    weight_decay: Decay = 0.0
    initial_accumulator_value: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    eps: Epsilon = 1e-10
    maximize: bool = False


class Adadelta(OptimizerSection):
    """Adadelta (Zeiler, 2012)."""

    type: Literal["Adadelta"]
    lr: LearningRate = 1.0
    rho: Beta = 0.9
    eps: Epsilon = 1e-6
    weight_decay: Decay = 0.0
    maximize: bool = False


class Adafactor(OptimizerSection):
    """Adafactor (Shazeer and Stern, 2018): a matrix's second moments kept as one row and one column."""

    type: Literal["Adafactor"]
    lr: LearningRate = 1e-2
    beta2_decay: Annotated[float, Field(ge=-10, le=0)] = -0.8
    eps: Annotated[list[Epsilon | None], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [None, 1e-3], description="The first may be null: the dtype's own epsilon."
    )
    d: Annotated[float, Field(ge=1, le=1e6)] = 1.0
    weight_decay: Decay = 0.0
    maximize: bool = False
