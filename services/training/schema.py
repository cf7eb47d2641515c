"""The sections ``data``, ``training`` and ``checkpoints`` of a job request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from services.datasets.preprocessing import Features, Split, Window
from services.training.losses import AnyLoss
from services.training.metrics import Metric
from services.training.model import MAX_SEED, Section, problem
from services.training.optimizer import Pattern
from services.training.optimizers import Optimizer
from services.training.schedulers import Scheduler
from services.training.stages import (
    Best,
    EarlyStopping,
    Ema,
    Epochs,
    EvaluateEvery,
    GradientClip,
    Steps,
    Swa,
    Warmup,
    need_one,
)

MAX_BATCH_SIZE = 1 << 20
OPEN_BATCH_SIZE = 0
"""Stands for "auto" once a request is read."""

ColumnName = Annotated[str, Field(min_length=1, max_length=200)]
MAX_TARGETS = 64


def _check_target(value: object) -> object:
    """A column, or several; not a pydantic union, whose errors would name both sides."""
    names = value if isinstance(value, list) else [] if value is None else [value]
    if isinstance(value, list) and not 1 <= len(value) <= MAX_TARGETS:
        raise problem("out_of_range", f"A list of targets has 1 to {MAX_TARGETS} columns.")
    for index, name in enumerate(names):
        pointer = f"/{index}" if isinstance(value, list) else ""
        if not isinstance(name, str):
            raise problem("string_type", "A target is the name of a column.", pointer=pointer)
        if not 1 <= len(name) <= 200:
            raise problem("out_of_range", "The name of a column has 1 to 200 characters.", pointer=pointer)
    return value


_TARGET_SCHEMA = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 200},
        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_TARGETS},
        {"type": "null"},
    ]
}
Target = Annotated[Any, AfterValidator(_check_target), WithJsonSchema(_TARGET_SCHEMA)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def _number_or_auto(value: object, check: ValidatorFunctionWrapHandler) -> int:
    number: int = OPEN_BATCH_SIZE if value == "auto" else check(value)
    return number


BatchSize = Annotated[
    int,
    Field(ge=1, le=MAX_BATCH_SIZE),
    WrapValidator(_number_or_auto),
    PlainSerializer(lambda size: size or "auto"),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_BATCH_SIZE}, {"const": "auto"}]}),
]


class DataSection(Section):
    """The data a job trains on, and how it reaches the model."""

    dataset: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="The name of a built-in data set, or the id of your own (`ds_…`)."
    )
    inputs: Annotated[list[ColumnName], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Columns that the model is called with, in order."
    )
    target: Target = Field(None, description="The column that loss and metrics compare with, or a list of several.")
    features: Features = Field(
        default_factory=dict, description="Tensors made of columns: put side by side, normalized, encoded, augmented."
    )
    window: Window | None = Field(None, description="Runs of rows, for text and time series.")
    split: Split = Field(default_factory=lambda: Split(train=0.8, validation=0.1, test=0.1, seed=0))
    batch_size: BatchSize = Field(
        64, description='Rows of one batch, or "auto": the largest power of two that fits and is not slower for a row.'
    )
    shuffle: bool = Field(True, description="Draw the rows in a new order every epoch.")
    drop_last: bool = Field(False, description="Leave out the last batch of an epoch when it is not full.")


class TrainingPlan(Section):
    """How long, with which optimizer, loss and metrics."""

    epochs: Epochs | None = None
    steps: Steps | None = None
    optimizer: Optimizer
    scheduler: Scheduler | None = None
    loss: AnyLoss
    metrics: Annotated[list[Metric], Field(max_length=32)] | None = Field(
        None, description="By default: what suits the loss."
    )
    warmup: Warmup | None = None
    gradient_clip: GradientClip | None = None
    accumulate: Annotated[int, Field(ge=1, le=65_536)] = Field(
        1, description="Batches whose gradients make one step; the last step of an epoch takes what is left."
    )
    precision: Literal["float32", "bf16", "fp16", "tf32"] = Field(
        "float32", description="In which numbers the model is computed; fp16 and tf32 need a CUDA device."
    )
    ema: Ema | None = None
    swa: Swa | None = None
    freeze: Annotated[list[Pattern], Field(max_length=64)] = Field(
        default_factory=list, description="Patterns of parameter names, such as `backbone.*`, that do not train."
    )
    frozen_batch_norm: Literal["keep", "update"] = Field(
        "keep", description="Whether batch normalisation in frozen parts uses its running statistics, or renews them."
    )
    evaluate_every: EvaluateEvery = Field(default_factory=lambda: EvaluateEvery(epochs=1))
    early_stopping: EarlyStopping | None = None
    execution: Literal["dynamic", "static"] = Field(
        "dynamic",
        description="`static` captures the model as one graph before the first step (`torch.compile`) and trains with "
        "that; see `POST /v1/graphs/capture`.",
    )
    execution_fallback: Literal["fail", "dynamic"] | None = Field(
        None,
        description="With `static`: what happens to a model that cannot be captured. By default the job fails; with "
        "`dynamic` it trains dynamically, and `execution` of the job says why.",
    )
    seed: Seed | None = Field(None, description="Of initial weights, order and dropout; chosen and reported if absent.")
    reproducible: bool = Field(True, description="Use deterministic algorithms, so that a repeat gives the same bits.")
    on_non_finite: Literal["fail", "skip", "continue"] = Field(
        "fail",
        description="When a loss is NaN or infinite: `skip` leaves such a step out before the weights move.",
    )

    @model_validator(mode="after")
    def _exactly_one_length(self) -> TrainingPlan:
        need_one(self, "epochs", "steps")
        return self

    @model_validator(mode="after")
    def _fallback_of_static(self) -> TrainingPlan:
        if self.execution == "dynamic" and self.execution_fallback is not None:
            detail = "A fallback belongs to static execution; this job is dynamic anyway."
            raise problem("conflict", detail, pointer="/execution_fallback", hint='Add "execution": "static".')
        return self


class Every(Section):
    """A distance between checkpoints, in one of four units."""

    epochs: Epochs | None = None
    steps: Steps | None = None
    seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    minutes: Annotated[int, Field(ge=1, le=1440)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Every:
        need_one(self, "epochs", "steps", "seconds", "minutes")
        return self


class CheckpointPolicy(Section):
    """When checkpoints are written, besides the one at the end, and how many are kept."""

    every: Every | None = Field(
        None, description="By default every second at first, then ever more rarely, down to once a minute."
    )
    keep: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="The last so many are kept, and the final one.")
    best: Best | None = None
    keep_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        None, description="After so many days since the job's end all but pinned ones are deleted; by default never."
    )
