"""What happens besides the steps themselves: averaging of weights, early stopping, evaluations, warm-up, freezing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.training.model import Section, problem
from services.training.schedulers import MetricPath, Mode

MAX_EPOCHS = 1_000_000
MAX_STEPS = 100_000_000

Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]


class Ema(Section):
    """An exponential moving average of the weights (Polyak and Juditsky, 1992), updated after each step."""

    decay: Annotated[float, Field(gt=0, lt=1)] = Field(0.999, description="How much of the average stays at an update.")
    every: Steps = Field(1, description="Steps between updates.")
    use_buffers: bool = Field(False, description="Average buffers too, instead of copying them (as torch does).")


class Swa(Section):
    """Stochastic weight averaging (Izmailov et al., 2018): the mean of the weights at the end of the late epochs."""

    start_epoch: Epochs | None = Field(None, description="Epochs before the first average; by default three quarters.")
    lr: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None, description="Go to this rate from there on (`SWALR`), in place of the schedule; by default go on with it."
    )
    anneal_epochs: Annotated[int, Field(ge=0, le=MAX_EPOCHS)] = Field(10, description="How long the way there takes.")
    anneal_strategy: Literal["cos", "linear"] = "cos"


class EarlyStopping(Section):
    """End when ``metric`` has not improved by more than ``min_delta`` for ``patience`` evaluations."""

    metric: MetricPath = "validation/loss"
    mode: Mode = "min"
    patience: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    min_delta: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    restore_best: bool = Field(False, description="Give the job the weights of its best evaluation in the end.")


class Best(Section):
    """Keep the checkpoint of the best evaluation, besides the last ones."""

    metric: MetricPath = "validation/loss"
    mode: Mode = "min"
    restore: bool = Field(False, description="Give the job these weights in the end.")


class EvaluateEvery(Section):
    """A distance between evaluations of the validation part; there is always one at the end."""

    epochs: Epochs | None = None
    steps: Steps | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> EvaluateEvery:
        need_one(self, "epochs", "steps")
        return self


class Warmup(Section):
    """Raise the rate from ``start_factor`` of it to all of it, in so many steps or epochs; then the schedule begins.

    Steps go with a schedule whose ``interval`` is ``step``, epochs with one whose ``interval`` is ``epoch``.
    """

    steps: Steps | None = None
    epochs: Epochs | None = None
    start_factor: Annotated[float, Field(gt=0, le=1)] = 1 / 3

    @model_validator(mode="after")
    def _exactly_one(self) -> Warmup:
        need_one(self, "steps", "epochs")
        return self


class GradientClip(Section):
    """Bound the gradients before each step: by their common ``norm``, or each entry by ``value``."""

    norm: Annotated[float, Field(gt=0, le=1e12)] | None = None
    value: Annotated[float, Field(gt=0, le=1e12)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> GradientClip:
        need_one(self, "norm", "value")
        return self


def need_one(section: Section, *names: str) -> None:
    """Raise unless exactly one of the members is given."""
    given = [name for name in names if getattr(section, name) is not None]
    choice = " or ".join(f"`{name}`" for name in names)
    if not given:
        raise problem("missing", f"Exactly one of {choice} is required.", pointer=f"/{names[0]}")
    if len(given) > 1:
        raise problem("conflict", f"Only one of {choice} may be given.", pointer=f"/{given[1]}")
