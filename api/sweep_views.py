"""The shapes of answers about sweeps, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import ListView, Time, View

SweepState = Literal["running", "stopping", "cancelling", "succeeded", "failed", "cancelled"]


class SweepProgressView(View):
    """How far a sweep is."""

    trials: int = Field(description="The budget: trials in all, without those that could not be trained.")
    ended: int
    percent: float
    counts: dict[str, int] = Field(description="Trials by state; a trial that waits or trains has its job's.")


class BestTrialView(View):
    """The trial with the best objective so far."""

    trial: int
    objective: float
    step: int = Field(description="Where the series had that value.")
    parameters: dict[str, Any] = Field(description="By JSON Pointer into the base.")
    job_id: str
    checkpoint_id: str | None = Field(description="The job's checkpoint of that step, else its newest.")
    links: dict[str, str]


class SweepView(View):
    """A search over the fields of one job request."""

    id: str = Field(examples=["swp_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["sweep"]
    name: str | None
    state: SweepState
    terminal: bool
    reason: str | None = Field(
        description="`timeout`, `too_many_failed_trials`, `too_many_invalid_trials`, `no_trial_succeeded`, "
        "`cancel_requested`."
    )
    progress: SweepProgressView
    open: list[dict[str, Any]] = Field(
        description="Trials that wait or train: `number`, `state`, `parameters`, `step`, `total_steps`, `latest`, "
        "`job_id`."
    )
    best: BestTrialView | None
    strategy: Literal["grid", "random", "tpe"]
    objective: dict[str, str]
    asha: dict[str, Any] | None
    budget: dict[str, int]
    points: int | None = Field(description="How many points the space has; null with a continuous dimension.")
    seed: int
    space: dict[str, dict[str, Any]]
    base: dict[str, Any] = Field(description="What all trials have in common.")
    request: dict[str, Any]
    created_at: str = Time
    finished_at: str | None = Time
    links: dict[str, str]


class SweepList(ListView):
    """A page of sweeps."""

    data: list[SweepView]


class SweepTrialView(View):
    """One point of the space, and what became of it."""

    id: str
    object: Literal["sweep_trial"]
    number: int
    state: str = Field(
        description="`proposed`, then its job's state, `settling` once that has ended; in the end `succeeded`, "
        "`failed`, `pruned`, `cancelled`, or `invalid`: it could not be trained, and cost no worker."
    )
    parameters: dict[str, Any]
    objective: float | None = Field(description="The best value that the series reached, once the trial has ended.")
    best_step: int | None
    latest: float | None = Field(description="The newest value of the series, while the trial trains.")
    step: int | None
    total_steps: int | None
    duration_seconds: float | None
    rungs: list[dict[str, Any]] = Field(description="With ASHA: step and value at each rung, and whether it went on.")
    problem: dict[str, Any] | None = Field(description="Why it is invalid, failed, or waits.")
    job_id: str | None
    checkpoint_id: str | None
    created_at: str = Time
    started_at: str | None = Time
    finished_at: str | None = Time
    links: dict[str, str]


class SweepTrialList(ListView):
    """A page of trials, by number."""

    data: list[SweepTrialView]


class SweepValidationView(View):
    """What a sweep would try."""

    object: Literal["sweep_validation"]
    valid: Literal[True]
    resolved: dict[str, Any]
    preflight: dict[str, Any] = Field(description="The report of the base.")


class ParallelCoordinatesView(View):
    """A sweep as lines over upright axes."""

    object: Literal["parallel_coordinates"]
    sweep_id: str
    name: str | None
    mode: Literal["min", "max"]
    dimensions: list[dict[str, Any]] = Field(
        description="`pointer`, `label`, `type` (number, integer, category), `scale` (linear, log, category), `range`, "
        "`ticks` (`value`, `label`, `position`); the objective is the last."
    )
    lines: list[dict[str, Any]] = Field(
        description="For each trial `values` and `positions` (0 below, 1 above) on the axes, in order."
    )
