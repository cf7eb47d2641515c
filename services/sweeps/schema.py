"""The request that creates a sweep, as pydantic checks it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from services.jobs.schema import MAX_RUNTIME_SECONDS
from services.training.model import MAX_SEED, Section, problem
from services.training.schedulers import MetricPath, Mode
from services.training.stages import Epochs, Steps

MAX_TRIALS = 1000
MAX_PARALLEL = 64
MAX_DIMENSIONS = 32
MAX_CHOICES = 200
MAX_CHOICES_IN_ALL = 1000
"""Each of them is put into the base and checked when a sweep is created."""
MAX_POINTS = 1000
DEFAULT_TRIALS = 20
_EXACT_INTEGER = 2**53
"""Beyond it not every integer is a float, and the samplers compute in floats."""

Strategy = Literal["grid", "random", "tpe"]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Whole = Annotated[int, Field(ge=-_EXACT_INTEGER, le=_EXACT_INTEGER)]
NumberRange = Annotated[list[Number], Field(min_length=2, max_length=2)]
WholeRange = Annotated[list[Whole], Field(min_length=2, max_length=2)]
_KINDS = ("choice", "uniform", "log_uniform", "int", "log_int")


class DimensionRequest(Section):
    """The values of one field: exactly one of `choice`, `uniform`, `log_uniform`, `int`, `log_int`."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind]} for kind in _KINDS], "minProperties": 1}
    )

    choice: Annotated[list[Any], Field(min_length=1, max_length=MAX_CHOICES)] | None = Field(
        None, description="Any of these JSON values; no order among them is assumed."
    )
    uniform: NumberRange | None = Field(None, description="A number from low to high.")
    log_uniform: NumberRange | None = Field(None, description="A number from low to high, even in its logarithm.")
    int_: WholeRange | None = Field(None, alias="int", description="An integer from low to high, both included.")
    log_int: WholeRange | None = Field(None, description="An integer, even in its logarithm.")
    step: Annotated[float, Field(gt=0, le=1e300)] | None = Field(
        None, description="With `uniform` and `int`: only low, low + step, …"
    )
    points: Annotated[int, Field(ge=2, le=MAX_POINTS)] | None = Field(
        None, description="With `uniform` and `log_uniform`: only so many values, evenly spaced from low to high."
    )

    @model_validator(mode="after")
    def _consistent(self) -> DimensionRequest:
        given = [name for name, value in self.ranges().items() if value is not None]
        if len(given) != 1:
            detail = f"A dimension has exactly one of {', '.join(_KINDS)}; here {len(given)} are given."
            raise problem("conflict" if given else "missing", detail, hint='For example {"log_uniform": [1e-4, 0.1]}.')
        (kind,) = given
        if self.choice is not None:
            _check_distinct(self.choice)
        else:
            _check_range(kind, self.ranges()[kind])
        self._check_spacing(kind)
        return self

    def ranges(self) -> dict[str, Any]:
        """Return the five ways to say values, by name; one of them is not None."""
        values = (self.choice, self.uniform, self.log_uniform, self.int_, self.log_int)
        return dict(zip(_KINDS, values, strict=True))

    def _check_spacing(self, kind: str) -> None:
        if self.step is not None and kind not in ("uniform", "int"):
            raise problem("conflict", f"`step` goes with uniform and int, not with {kind}.", pointer="/step")
        if self.points is not None and kind not in ("uniform", "log_uniform"):
            raise problem(
                "conflict", f"`points` goes with uniform and log_uniform, not with {kind}.", pointer="/points"
            )
        if self.step is None:
            return
        if self.points is not None:
            raise problem("conflict", "`step` and `points` both say which values there are.", pointer="/points")
        if kind == "int" and self.step != int(self.step):
            raise problem("int_type", "The step between integers is an integer.", pointer="/step")
        low, high = self.ranges()[kind]
        if kind == "uniform" and (high - low) / self.step >= MAX_POINTS:
            detail = f"From {low:g} to {high:g} in steps of {self.step:g} are more than {MAX_POINTS} values."
            raise problem("out_of_range", detail, pointer="/step", hint="Use a larger step.")


def _check_range(kind: str, values: list[float]) -> None:
    low, high = values
    if low > high:
        raise problem(
            "out_of_range", f"The range ends before it begins: {low} is more than {high}.", pointer=f"/{kind}"
        )
    if kind in ("log_uniform", "log_int") and low <= 0:
        detail = f"{low} has no logarithm that could be spaced."
        raise problem("out_of_range", detail, pointer=f"/{kind}/0", hint="Begin above 0.")


def _check_distinct(values: list[Any]) -> None:
    for index, value in enumerate(values):
        for earlier in values[:index]:
            if type(value) is type(earlier) and value == earlier:
                raise problem("duplicate_value", "This value is given twice.", pointer=f"/choice/{index}")


class Objective(Section):
    """What is sought: the best value that a series of the validation part reaches in a trial."""

    metric: MetricPath = Field("validation/loss", description="The series, as a job's metrics call it.")
    mode: Mode = Field("min", description="Whether small or large values are good.")


class Asha(Section):
    """Stop trials early (ASHA, Li et al., 2020): of those that reach a rung only the best go on.

    Rungs lie at `min_steps` (or `min_epochs`) × `reduction_factor`^k; the best 1/`reduction_factor` go on.
    """

    min_steps: Steps | None = None
    min_epochs: Epochs | None = None
    reduction_factor: Annotated[int, Field(ge=2, le=16)] = 3
    metric: MetricPath | None = Field(None, description="By default the objective's, with its mode.")
    mode: Mode | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Asha:
        if (self.min_steps is None) == (self.min_epochs is None):
            raise problem(
                "missing" if self.min_steps is None else "conflict", "Give min_steps or min_epochs: one of them."
            )
        if (self.metric is None) != (self.mode is None):
            detail = "A metric of its own comes with the mode that says which values are good, and a mode with it."
            raise problem("missing", detail, pointer="/mode" if self.mode is None else "/metric")
        return self


class Budget(Section):
    """How much may be tried."""

    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = Field(
        None, description=f"Trials in all; of a grid, every point of it; else {DEFAULT_TRIALS} by default."
    )
    parallel: Annotated[int, Field(ge=1, le=MAX_PARALLEL)] = Field(4, description="Trials that are queued or train.")
    max_runtime_seconds: Annotated[int, Field(ge=1, le=MAX_RUNTIME_SECONDS)] = Field(
        7 * 86_400, description="After so long what still trains is stopped, and the best until then is the result."
    )
    failed_trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = Field(
        20, description="The sweep fails when more trials than this have failed."
    )
    invalid_trials: Annotated[int, Field(ge=0, le=MAX_TRIALS)] = Field(
        200,
        description="Points that cannot be trained (sizes that do not fit) cost no trial of the budget; with more of "
        "them than this nothing more is tried. A grid skips them all.",
    )


class SweepRequest(Section):
    """A job request, values for some of its fields, and how to look for the best ones."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="A name for people.")
    base: dict[str, Any] = Field(
        description="A job request that could be sent as it is (`JobRequest`); each trial replaces fields of it."
    )
    space: Annotated[dict[str, DimensionRequest], Field(min_length=1, max_length=MAX_DIMENSIONS)] = Field(
        description="Values by JSON Pointer into the base: below `/model`, `/data`, `/training` or `/init_from`."
    )
    strategy: Strategy = Field("tpe", description="`grid`, `random`, or `tpe`, which learns from finished trials.")
    objective: Objective = Field(default_factory=Objective)
    asha: Asha | None = None
    budget: Budget = Field(default_factory=Budget)
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="Of the draws, and of the training of trials whose seed is left open."
    )

    @model_validator(mode="after")
    def _few_choices(self) -> SweepRequest:
        choices = sum(len(dimension.choice or ()) for dimension in self.space.values())
        if choices > MAX_CHOICES_IN_ALL:
            detail = f"The choices of all fields are {choices}; they may be {MAX_CHOICES_IN_ALL}."
            raise problem("out_of_range", detail, pointer="/space")
        return self
