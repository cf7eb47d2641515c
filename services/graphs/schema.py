"""What a request for a graph may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from services.datasets.preprocessing import Shares
from services.training.model import MAX_SEED, Section, problem

MAX_OPERATIONS = 20_000
MAX_VALUES = 4096
MAX_PATHS = 200
MAX_ROWS = 256
MAX_RUNS = 8
Name = Annotated[str, Field(min_length=1, max_length=200)]


def _check_model(value: object) -> object:
    if value is not None and not isinstance(value, dict | str):
        hint = 'For example "Sequential(Linear(64, 10))".'
        raise problem("model_type", "A model is an object or a constructor expression.", hint=hint)
    return value


Model = Annotated[
    Any,
    AfterValidator(_check_model),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}, {"type": "null"}]}),
]


class PathsSection(Section):
    """How many paths are listed for each leaf: the largest ones."""

    limit: int = Field(20, ge=1, le=MAX_PATHS)


class GradientsSection(Section):
    """Which gradient, of what, and by which paths."""

    output: Name | Annotated[int, Field(ge=0)] | None = Field(
        None, description="An output by name or position; by default the first that has a gradient."
    )
    element: Annotated[list[int], Field(max_length=16)] | None = Field(
        None, description="One element of it, an index for each dimension; without it the sum of all elements."
    )
    of: Annotated[list[Name], Field(min_length=1, max_length=200)] | None = Field(
        None, description="Names of inputs and parameters; by default all that take a gradient."
    )
    paths: PathsSection = PathsSection()


class GraphLimits(Section):
    """How much is recorded and written out."""

    operations: int = Field(2000, ge=1, le=MAX_OPERATIONS, description="Operations recorded; the rest are counted.")
    values: int = Field(64, ge=0, le=MAX_VALUES, description="Tensors with more elements are summarised.")


class Runnable(Section):
    """What is run: a definition, or the model of a checkpoint with its weights."""

    model: Model = Field(None, description="A definition, or the id of a model.")
    checkpoint: str | None = Field(None, description="A checkpoint: its job's definition with its weights.")
    mode: Literal["train", "eval"] = "train"
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of the initial weights, and of the draws in forward.")
    dtype: Literal["float32", "float64"] = "float32"

    @model_validator(mode="after")
    def _one_subject(self) -> Runnable:
        if (self.model is None) == (self.checkpoint is None):
            code = "missing" if self.model is None else "extra_forbidden"
            raise problem(code, "Give a model or a checkpoint, one of them.", pointer="/model")
        return self


class Subject(Runnable):
    """What is run and recorded."""

    limits: GraphLimits = GraphLimits()


class RowsSection(Section):
    """Rows of a data set as the inputs."""

    dataset: Name = Field(description="The name of a built-in data set, or the id of one of yours.")
    rows: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=MAX_ROWS)] = Field(
        description="Which rows: numbers from 0, of the whole data set or of a `part` of it."
    )
    inputs: Annotated[list[Name], Field(min_length=1, max_length=64)] | None = Field(
        None, description="Columns in the order of the model's inputs; by default as a job would choose them."
    )
    part: Literal["train", "validation", "test"] | None = Field(None, description="Count rows within this part.")
    split: Shares = Field(
        default_factory=lambda: Shares(train=0.8, validation=0.1, test=0.1, seed=0),
        description="How the rows are cut into parts, as in a job.",
    )


class RunSection(Section):
    """What one run is given: inputs, or rows of a data set."""

    inputs: dict[str, Any] | None = Field(
        None,
        description="Each input by name: numbers in nested lists, or `{random, shape, seed}`; by default small samples "
        "of the declared shapes.",
    )
    data: RowsSection | None = None

    @model_validator(mode="after")
    def _one_source(self) -> RunSection:
        if self.inputs is not None and self.data is not None:
            raise problem("extra_forbidden", "Give inputs or data, one of them.", pointer="/data")
        return self


class GraphRequest(Subject, RunSection):
    """``POST /v1/graphs``."""

    gradients: GradientsSection | None = Field(None, description="`{}` asks for all of them; absent: none.")


class NamedRun(RunSection):
    """One of the runs that are compared."""

    name: Name | None = None


class GraphDiffRequest(Subject):
    """``POST /v1/graphs/diff``."""

    runs: Annotated[list[NamedRun], Field(min_length=2, max_length=MAX_RUNS)] = Field(
        description="Two or more runs of one definition, each with its own inputs."
    )


class CaptureRequest(Runnable, RunSection):
    """``POST /v1/graphs/capture``."""


class CompareRequest(Runnable, RunSection):
    """``POST /v1/graphs/compare``."""

    measure_seconds: float = Field(4.0, ge=0.5, le=20, description="How long steps are measured, both ways together.")
