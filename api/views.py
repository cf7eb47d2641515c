"""The shapes of answers, for the OpenAPI document alone: what services return is not copied through these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["queued", "starting", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"]
Time = Field(description="RFC 3339, UTC.", examples=["2026-11-23T04:30:00.000000Z"])


class View(BaseModel):
    """An answer; later versions may add members."""

    model_config = ConfigDict(extra="allow")


class ProblemItem(View):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON Pointer (RFC 6901) into the request body.", examples=["/training/epochs"])
    code: str = Field(examples=["out_of_range"])
    detail: str
    hint: str | None = Field(None, description="How to mend it.")
    column: int | None = Field(None, description="Character, from 1, inside the string at `pointer`.")
    parameter: str | None = Field(None, description="The query parameter, if it is one that is wrong.")


class ProblemView(View):
    """An error (RFC 9457). `code` is stable; `detail` is for people."""

    type: str = Field(examples=["urn:modelwright:problem:out_of_range"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str = Field(description="Also in `X-Request-Id`; quote it when you ask us.")
    errors: list[ProblemItem]


class Transition(View):
    """When a job entered a state."""

    state: State
    at: str = Time
    reason: str | None = None


class Progress(View):
    """How far training is; empty before the first step."""

    epoch: int | None = None
    total_epochs: int | None = None
    step: int | None = None
    total_steps: int | None = None
    percent: float | None = None
    steps_per_second: float | None = None
    latest: dict[str, float | None] | None = Field(None, description="The newest value of each series.")


class FailureView(View):
    """Why a job failed."""

    code: str = Field(examples=["non_finite_loss"])
    message: str
    pointer: str | None = None
    class_: str = Field(alias="class", description="`user`, `resource` or `infrastructure`.")
    retryable: bool
    hint: str | None = None


class EstimateError(View):
    """How wrong estimates of this kind were on this device."""

    median: float = Field(description="Of |actual ÷ estimated − 1|.")
    p90: float
    n: int = Field(description="Past jobs that were compared.")


class EstimateView(View):
    """How long a job takes from its start to its end; time in the queue is not in it."""

    device: Literal["cpu", "cuda"] | None
    basis: Literal["past_jobs", "probe", "similar_jobs"] | None = Field(
        description="Past jobs of the same model and batch size; a few steps of it on this machine; other jobs."
    )
    low_seconds: float | None
    likely_seconds: float | None
    high_seconds: float | None
    samples: int = Field(description="Past jobs, or steps of the probe, that it is from.")
    detail: str | None = Field(description="Why there is none.")
    estimate_error: EstimateError | None
    actual_seconds: float | None = Field(None, description="Of a job that ran through at its first attempt.")


class WaitingForView(View):
    """Why a queued job does not run yet."""

    code: Literal["start_time", "no_worker", "no_device", "tenant_limit", "jobs_ahead", "free_slot", "claim"] = Field(
        examples=["tenant_limit"]
    )
    detail: str = Field(examples=["Your limit of running jobs is reached: 2 run, of at most 2."])


class QueuePlaceView(View):
    """Where a queued job stands; `position` and `ahead` are null until its start time has come."""

    position: int | None = Field(description="Among your own queued jobs, from 1.")
    ahead: int | None = Field(description="How many jobs of everybody's will probably go first.")
    eta: str | None = Field(description="When it will probably start; null where no estimate tells.")
    waiting_for: WaitingForView


class JobView(View):
    """A job: a model, its data and its plan, and what became of it."""

    id: str = Field(examples=["job_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["job"]
    name: str | None
    state: State
    terminal: bool = Field(description="Whether `state` is final.")
    phase: str | None
    reason: str | None
    attempt: int = Field(description="Grows each time the job is taken up by a worker.")
    priority: int
    device: str = Field(description="What a worker must have: `auto`, `cpu`, `cuda`, `cuda:4` for four GPUs.")
    labels: dict[str, str]
    progress: Progress
    transitions: list[Transition]
    error: FailureView | None
    resume: str | None
    execution: dict[str, Any] | None = Field(
        description="With static execution, once known: how the job trains (`static`, or `dynamic` with the `reason`), "
        "seconds of capturing, `backend`, captured `batch_sizes`, largest difference from the model."
    )
    queue: QueuePlaceView | None = Field(description="While it is `queued`.")
    start_after: str | None = Time
    created_at: str = Time
    started_at: str | None = Time
    finished_at: str | None = Time
    updated_at: str | None = Time
    model: dict[str, Any] = Field(description="sha256 of the canonical definition, and parameter counts.")
    preflight: dict[str, Any] = Field(description="Shapes at each layer, parameters, memory, operations.")
    estimate: EstimateView | None = Field(description="As it was given when the job was submitted.")
    origin: dict[str, Any] | None = Field(
        description="What this job was made from: `{kind, job_id}`, or `{kind, sweep_id, trial}`."
    )
    webhook: dict[str, Any] | None = Field(description="Who is told of its events: `{id, events}`.")
    request: dict[str, Any] = Field(description="What you sent.")
    resolved: dict[str, Any] = Field(description="The same with every default filled in and the seed chosen.")
    links: dict[str, str]


class Series(View):
    """One series: equally long arrays of steps and values."""

    steps: list[int]
    values: list[float | None]
    non_finite: list[dict[str, Any]] = Field(description="Where a value is `null`, what it was.")
    count: int = Field(description="How many points there are, before thinning.")
    downsampled: bool


class MetricsView(View):
    """The series of a job."""

    object: Literal["metrics"]
    job_id: str
    series: dict[str, Series]


class ValidationView(View):
    """What a request would do."""

    object: Literal["validation"]
    valid: Literal[True]
    resolved: dict[str, Any]
    preflight: dict[str, Any] = Field(description="Shapes at each layer, parameters, operations, memory of a step.")
    estimate: EstimateView


class CatalogEntryView(View):
    """Something that a request may name."""

    object: Literal["catalog_entry"]
    name: str = Field(examples=["Conv2d"])
    kind: str
    family: str
    doc: str
    schema_: dict[str, Any] = Field(alias="schema", description="JSON Schema of the arguments.")


class ListView(View):
    """One page of a list."""

    object: Literal["list"]
    has_more: bool
    last_id: str | None = Field(description="Pass it as `after` for the next page.")


class JobList(ListView):
    """A page of jobs."""

    data: list[JobView]


class CatalogEntryBrief(View):
    """An entry without its schema."""

    object: Literal["catalog_entry"]
    name: str
    kind: str
    family: str
    doc: str


class CatalogList(ListView):
    """Entries of the catalog."""

    data: list[CatalogEntryBrief]


class HealthView(View):
    """The process is alive."""

    status: Literal["ok"]


class ComponentView(View):
    """How one component is."""

    status: Literal["ok", "degraded", "down"]
    detail: str


class ReadyView(View):
    """How the service is."""

    status: Literal["ok", "degraded", "down"]
    components: dict[Literal["database", "redis", "workers", "scheduler", "object_store"], ComponentView]
