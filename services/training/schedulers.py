"""The learning-rate schedules a plan may name, with the arguments of the torch classes of the same names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.training.model import Component, problem

Turns = Annotated[int, Field(ge=1, le=1_000_000_000)]
Factor = Annotated[float, Field(gt=0, le=1)]
Gamma = Annotated[float, Field(gt=0, le=1e3)]
Rate = Annotated[float, Field(ge=0, le=1e6)]


class _Scheduler(Component):
    interval: Literal["epoch", "step"] = Field("epoch", description="What one turn of the schedule is.")


class StepLR(_Scheduler):
    """Multiply the rate by ``gamma`` every ``step_size`` turns."""

    type: Literal["StepLR"]
    step_size: Turns
    gamma: Gamma = 0.1


class MultiStepLR(_Scheduler):
    """Multiply the rate by ``gamma`` at each of ``milestones``."""

    type: Literal["MultiStepLR"]
    milestones: Annotated[list[Turns], Field(min_length=1, max_length=1000)]
    gamma: Gamma = 0.1


class ExponentialLR(_Scheduler):
    """Multiply the rate by ``gamma`` at every turn."""

    type: Literal["ExponentialLR"]
    gamma: Gamma


class ConstantLR(_Scheduler):
    """Multiply the rate by ``factor`` for the first ``total_iters`` turns."""

    type: Literal["ConstantLR"]
    factor: Factor = 1 / 3
    total_iters: Turns = 5


class LinearLR(_Scheduler):
    """Go from ``start_factor`` to ``end_factor`` of the rate in ``total_iters`` turns (a warm-up)."""

    type: Literal["LinearLR"]
    start_factor: Factor = 1 / 3
    end_factor: Annotated[float, Field(ge=0, le=1)] = 1.0
    total_iters: Turns = 5


class PolynomialLR(_Scheduler):
    """Fall to 0 in ``total_iters`` turns (by default: the whole run) along a power of the rest."""

    type: Literal["PolynomialLR"]
    total_iters: Turns | None = None
    power: Annotated[float, Field(gt=0, le=100)] = 1.0


class CosineAnnealingLR(_Scheduler):
    """Fall to ``eta_min`` along half a cosine of ``T_max`` turns (by default: the whole run)."""

    type: Literal["CosineAnnealingLR"]
    T_max: Turns | None = None
    eta_min: Rate = 0.0


class CosineAnnealingWarmRestarts(_Scheduler):
    """Repeat a cosine of ``T_0`` turns, each ``T_mult`` times as long as the one before."""

    type: Literal["CosineAnnealingWarmRestarts"]
    T_0: Turns
    T_mult: Annotated[int, Field(ge=1, le=1000)] = 1
    eta_min: Rate = 0.0


class OneCycleLR(Component):
    """One cycle up to ``max_lr`` and down, over the whole run, one turn a step."""

    type: Literal["OneCycleLR"]
    max_lr: Annotated[float, Field(gt=0, le=1e6)]
    total_steps: Turns | None = None
    pct_start: Annotated[float, Field(gt=0, lt=1)] = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.85
    max_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    div_factor: Annotated[float, Field(ge=1, le=1e12)] = 25.0
    final_div_factor: Annotated[float, Field(ge=1, le=1e12)] = 1e4
    three_phase: bool = False
    interval: Literal["step"] = "step"

    @model_validator(mode="after")
    def _momenta_in_order(self) -> OneCycleLR:
        if self.base_momentum > self.max_momentum:
            raise problem("invalid_argument", "base_momentum must not exceed max_momentum.", pointer="/base_momentum")
        return self


Scheduler = Annotated[
    StepLR
    | MultiStepLR
    | ExponentialLR
    | ConstantLR
    | LinearLR
    | PolynomialLR
    | CosineAnnealingLR
    | CosineAnnealingWarmRestarts
    | OneCycleLR,
    Field(discriminator="type"),
]
# The argument that stands for the length of the run when it is left out.
WHOLE_RUN_ARGUMENTS = {"PolynomialLR": "total_iters", "CosineAnnealingLR": "T_max", "OneCycleLR": "total_steps"}
