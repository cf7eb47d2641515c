"""The optimizers a plan may name, with the arguments of the torch classes of the same names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.training.model import Component, problem

LearningRate = Annotated[float, Field(gt=0, le=1e6, description="Learning rate.")]
Decay = Annotated[float, Field(ge=0, le=1e6)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Epsilon = Annotated[float, Field(ge=0, le=1)]


class SGD(Component):
    """Stochastic gradient descent, with momentum if asked."""

    type: Literal["SGD"]
    lr: LearningRate = 1e-3
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.0
    dampening: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight_decay: Decay = 0.0
    nesterov: bool = False
    maximize: bool = False

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGD:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            detail = "Nesterov momentum needs a momentum above 0 and a dampening of 0."
            raise problem("invalid_argument", detail, pointer="/nesterov", hint='For example "momentum": 0.9.')
        return self


class _AdamLike(Component):
    lr: LearningRate = 1e-3
    betas: list[Beta] = Field(default_factory=lambda: [0.9, 0.999], min_length=2, max_length=2)
    eps: Epsilon = 1e-8
    amsgrad: bool = False
    maximize: bool = False


class Adam(_AdamLike):
    """Adam (Kingma and Ba, 2015)."""

    type: Literal["Adam"]
    weight_decay: Decay = 0.0


class AdamW(_AdamLike):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    type: Literal["AdamW"]
    weight_decay: Decay = 1e-2


class RMSprop(Component):
    """RMSprop (Hinton, 2012)."""

    type: Literal["RMSprop"]
    lr: LearningRate = 1e-2
    alpha: Beta = 0.99
    eps: Epsilon = 1e-8
    weight_decay: Decay = 0.0
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.0
    centered: bool = False
    maximize: bool = False


class Adagrad(Component):
    """Adagrad (Duchi, Hazan and Singer, 2011)."""

    type: Literal["Adagrad"]
    lr: LearningRate = 1e-2
    lr_decay: Decay = 0.0
    weight_decay: Decay = 0.0
    initial_accumulator_value: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    eps: Epsilon = 1e-10
    maximize: bool = False


Optimizer = Annotated[SGD | Adam | AdamW | RMSprop | Adagrad, Field(discriminator="type")]
