"""The optimizers a plan may name: all of ``torch.optim``, with the arguments of the torch classes of the same names.

Left out are arguments that say how torch computes and not what (``foreach``, ``fused``, ``capturable``,
``differentiable``): the trainer chooses those for its device.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from services.training.model import problem
from services.training.optimizer import Decay, Epsilon, LearningRate, OptimizerSection, Share
from services.training.optimizers_adam import (
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    SparseAdam,
)


class SGD(OptimizerSection):
    """Stochastic gradient descent, with momentum if asked."""

    type: Literal["SGD"]
    lr: LearningRate = 1e-3
    momentum: Share = 0.0
    dampening: Share = 0.0
    weight_decay: Decay = 0.0
    nesterov: bool = False
    maximize: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            detail = "Nesterov momentum needs a momentum above 0 and a dampening of 0."
            raise problem("invalid_argument", detail, pointer="/nesterov", hint='For example "momentum": 0.9.')
        return self


class ASGD(OptimizerSection):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992)."""

    type: Literal["ASGD"]
    lr: LearningRate = 1e-2
    lambd: Decay = 1e-4
    alpha: Share = 0.75
    t0: Annotated[float, Field(ge=0, le=1e12)] = 1e6
    weight_decay: Decay = 0.0
    maximize: bool = False


class Rprop(OptimizerSection):
    """Resilient backpropagation (Riedmiller and Braun, 1993): only the signs of the gradients count."""

    type: Literal["Rprop"]
    lr: LearningRate = 1e-2
    etas: Annotated[list[Annotated[float, Field(gt=0, le=1e3)]], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [0.5, 1.2], description="Factors that shrink (below 1) and grow (above 1) a step."
    )
    step_sizes: Annotated[list[Annotated[float, Field(ge=0, le=1e6)]], Field(min_length=2, max_length=2)] = Field(
        default_factory=lambda: [1e-6, 50], description="The smallest and the largest step."
    )
    maximize: bool = False

    @model_validator(mode="after")
    def _pairs_in_order(self) -> Rprop:
        if not self.etas[0] < 1 < self.etas[1]:
            raise problem("invalid_argument", "etas must lie on either side of 1.", pointer="/etas")
        if self.step_sizes[0] > self.step_sizes[1]:
            raise problem("invalid_argument", "The smallest step exceeds the largest.", pointer="/step_sizes")
        return self


class Muon(OptimizerSection):
    """Momentum with orthogonalised updates (Jordan et al., 2024), for matrices alone: every trained one must be 2-d."""

    type: Literal["Muon"]
    lr: LearningRate = 1e-3
    weight_decay: Decay = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    nesterov: bool = True
    ns_coefficients: Annotated[list[Annotated[float, Field(ge=-100, le=100)]], Field(min_length=3, max_length=3)] = (
        Field(default_factory=lambda: [3.4445, -4.775, 2.0315], description="Of the Newton-Schulz iteration.")
    )
    eps: Epsilon = 1e-7
    ns_steps: Annotated[int, Field(ge=1, le=99)] = 5
    adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None


class LBFGS(OptimizerSection):
    """Limited-memory BFGS (Liu and Nocedal, 1989): one step evaluates the loss of its batch several times."""

    can_group: ClassVar[bool] = False
    type: Literal["LBFGS"]
    lr: LearningRate = 1.0
    max_iter: Annotated[int, Field(ge=1, le=1000)] = 20
    max_eval: Annotated[int, Field(ge=1, le=10_000)] | None = Field(None, description="By default max_iter × 1.25.")
    tolerance_grad: Annotated[float, Field(ge=0, le=1)] = 1e-7
    tolerance_change: Annotated[float, Field(ge=0, le=1)] = 1e-9
    history_size: Annotated[int, Field(ge=1, le=1000)] = 100
    line_search_fn: Literal["strong_wolfe"] | None = None


Optimizer = Annotated[
    SGD
    | Adam
    | AdamW
    | RMSprop
    | Adagrad
    | Adadelta
    | Adafactor
    | Adamax
    | ASGD
    | LBFGS
    | Muon
    | NAdam
    | RAdam
    | Rprop
    | SparseAdam,
    Field(discriminator="type"),
]
