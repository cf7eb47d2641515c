"""The sections ``data``, ``training`` and ``checkpoints`` of a job request."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.training.losses import AnyLoss
from services.training.metrics import MetricName
from services.training.model import MAX_SEED, Section, problem
from services.training.optimizers import Optimizer
from services.training.schedulers import Scheduler

MAX_EPOCHS = 1_000_000
MAX_STEPS = 100_000_000
MAX_BATCH_SIZE = 1 << 20

ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEPS)]


class Split(Section):
    """Which share of the rows trains, validates and tests. What the three leave over is not used."""

    train: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="By default: all the rest.")
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    test: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Seed = Field(0, description="Shuffles the rows before they are cut.")

    @model_validator(mode="after")
    def _at_most_all(self) -> Split:
        total = (self.train or 0.0) + self.validation + self.test
        if total > 1 + 1e-9 or (self.train is None and total >= 1):
            detail = f"train, validation and test must add up to at most 1; here it is {total:g}, and train needs some."
            raise problem("out_of_range", detail, hint='For example {"train": 0.8, "validation": 0.1, "test": 0.1}.')
        return self


class DataSection(Section):
    """The data a job trains on, and how it reaches the model."""

    dataset: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="The name of a data set.")
    inputs: Annotated[list[ColumnName], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Columns that the model is called with, in order."
    )
    target: ColumnName | None = Field(None, description="The column that the loss compares with.")
    split: Split = Field(default_factory=lambda: Split(train=0.8, validation=0.1, test=0.1, seed=0))
    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH_SIZE)] = 64
    shuffle: bool = Field(True, description="Draw the rows in a new order every epoch.")
    drop_last: bool = Field(False, description="Leave out the last batch of an epoch when it is not full.")


class GradientClip(Section):
    """Bound the gradients before each step: by their common ``norm``, or each entry by ``value``."""

    norm: Annotated[float, Field(gt=0, le=1e12)] | None = None
    value: Annotated[float, Field(gt=0, le=1e12)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> GradientClip:
        _need_one(self, "norm", "value")
        return self


class TrainingPlan(Section):
    """How long, with which optimizer, loss and metrics."""

    epochs: Epochs | None = None
    steps: Steps | None = None
    optimizer: Optimizer
    scheduler: Scheduler | None = None
    loss: AnyLoss
    metrics: Annotated[list[MetricName], Field(max_length=32)] | None = Field(
        None, description="By default: what suits the loss."
    )
    gradient_clip: GradientClip | None = None
    seed: Seed | None = Field(None, description="Of initial weights, order and dropout; chosen and reported if absent.")
    reproducible: bool = Field(True, description="Use deterministic algorithms, so that a repeat gives the same bits.")
    on_non_finite: Literal["fail", "continue"] = Field("fail", description="When a loss is NaN or infinite.")

    @model_validator(mode="after")
    def _exactly_one_length(self) -> TrainingPlan:
        _need_one(self, "epochs", "steps")
        return self


class Every(Section):
    """A distance between checkpoints, in one of three units."""

    epochs: Epochs | None = None
    steps: Steps | None = None
    seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Every:
        _need_one(self, "epochs", "steps", "seconds")
        return self


class CheckpointPolicy(Section):
    """When checkpoints are written, besides the one at the end, and how many are kept."""

    every: Every | None = Field(
        None, description="By default every second at first, then ever more rarely, down to once a minute."
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="The last so many are kept, and the final one.")


def _need_one(section: Section, *names: str) -> None:
    given = [name for name in names if getattr(section, name) is not None]
    choice = " or ".join(f"`{name}`" for name in names)
    if not given:
        raise problem("missing", f"Exactly one of {choice} is required.", pointer=f"/{names[0]}")
    if len(given) > 1:
        raise problem("conflict", f"Only one of {choice} may be given.", pointer=f"/{given[1]}")
