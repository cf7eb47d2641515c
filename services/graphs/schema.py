"""What a request for a graph may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.training.model import MAX_SEED, Section, problem

MAX_OPERATIONS = 20_000
MAX_VALUES = 4096
MAX_PATHS = 200
Name = Annotated[str, Field(min_length=1, max_length=200)]


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


class Subject(Section):
    """What is run: a definition, or the model of a checkpoint with its weights."""

    model: dict[str, Any] | str | None = Field(None, description="A definition, or the id of a model.")
    checkpoint: str | None = Field(None, description="A checkpoint: its job's definition with its weights.")
    mode: Literal["train", "eval"] = "train"
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Of the initial weights, and of the draws in forward.")
    dtype: Literal["float32", "float64"] = "float32"
    limits: GraphLimits = GraphLimits()

    @model_validator(mode="after")
    def _one_subject(self) -> Subject:
        if (self.model is None) == (self.checkpoint is None):
            code = "missing" if self.model is None else "extra_forbidden"
            raise problem(code, "Give a model or a checkpoint, one of them.", pointer="/model")
        return self


class GraphRequest(Subject):
    """``POST /v1/graphs``."""

    inputs: dict[str, Any] | None = Field(
        None,
        description="Each input by name: numbers in nested lists, or `{random, shape, seed}`; by default small samples "
        "of the declared shapes.",
    )
    gradients: GradientsSection | None = Field(None, description="`{}` asks for all of them; absent: none.")
