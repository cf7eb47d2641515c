"""The learning-rate schedules a plan may name, with the arguments of the torch classes of the same names.

All of ``torch.optim.lr_scheduler`` but `LambdaLR` and `MultiplicativeLR`, whose arguments are Python functions.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.training.model import Component, problem

Turns = Annotated[int, Field(ge=1, le=1_000_000_000)]
Factor = Annotated[float, Field(gt=0, le=1)]
Gamma = Annotated[float, Field(gt=0, le=1e3)]
Rate = Annotated[float, Field(ge=0, le=1e6)]
MetricPath = Annotated[str, Field(min_length=1, max_length=200)]
Mode = Literal["min", "max"]


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


class CyclicLR(_Scheduler):
    """Swing between ``base_lr`` and ``max_lr`` (Smith, 2017)."""

    type: Literal["CyclicLR"]
    base_lr: Rate
    max_lr: Annotated[float, Field(gt=0, le=1e6)]
    step_size_up: Turns = 2000
    step_size_down: Turns | None = Field(None, description="By default as many as up.")
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    cycle_momentum: bool = True
    base_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.8
    max_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9

    @model_validator(mode="after")
    def _in_order(self) -> CyclicLR:
        if self.base_lr > self.max_lr:
            raise problem("invalid_argument", "base_lr must not exceed max_lr.", pointer="/base_lr")
        if self.base_momentum > self.max_momentum:
            raise problem("invalid_argument", "base_momentum must not exceed max_momentum.", pointer="/base_momentum")
        return self


class ReduceLROnPlateau(Component):
    """Multiply the rate by ``factor`` when ``metric`` has not improved for ``patience`` evaluations."""

    type: Literal["ReduceLROnPlateau"]
    metric: MetricPath = Field("validation/loss", description="What is watched, as the series is called.")
    mode: Mode = "min"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = 10
    threshold: Annotated[float, Field(ge=0, le=1e6)] = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    min_lr: Rate = 0.0
    eps: Annotated[float, Field(ge=0, le=1)] = 1e-8


Simple = Annotated[
    StepLR
    | MultiStepLR
    | ExponentialLR
    | ConstantLR
    | LinearLR
    | PolynomialLR
    | CosineAnnealingLR
    | CosineAnnealingWarmRestarts,
    Field(discriminator="type"),
]
"""Those that others may be made of: they start from the optimizer's own rates."""


class _Composed(_Scheduler):
    schedulers: Annotated[list[Simple], Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _one_interval(self) -> Self:
        for index, inner in enumerate(self.schedulers):
            if "interval" in inner.model_fields_set and inner.interval != self.interval:
                detail = f"The whole counts in {self.interval}s, so its parts do."
                raise problem("conflict", detail, pointer=f"/schedulers/{index}/interval", hint="Leave it out.")
        return self


class SequentialLR(_Composed):
    """Follow one schedule after another: each of ``milestones`` is the turn at which the next one begins."""

    type: Literal["SequentialLR"]
    milestones: Annotated[list[Turns], Field(max_length=31)]

    @model_validator(mode="after")
    def _a_milestone_between_any_two(self) -> SequentialLR:
        if len(self.milestones) != len(self.schedulers) - 1:
            detail = f"{len(self.schedulers)} schedulers need {len(self.schedulers) - 1} milestones."
            raise problem("invalid_argument", detail, pointer="/milestones")
        if any(later <= earlier for earlier, later in pairwise(self.milestones)):
            raise problem("invalid_argument", "Milestones must grow.", pointer="/milestones")
        return self


class ChainedScheduler(_Composed):
    """Follow several schedules at once: their factors multiply."""

    type: Literal["ChainedScheduler"]


Scheduler = Annotated[
    StepLR
    | MultiStepLR
    | ExponentialLR
    | ConstantLR
    | LinearLR
    | PolynomialLR
    | CosineAnnealingLR
    | CosineAnnealingWarmRestarts
    | OneCycleLR
    | CyclicLR
    | ReduceLROnPlateau
    | SequentialLR
    | ChainedScheduler,
    Field(discriminator="type"),
]
