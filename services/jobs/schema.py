"""The request that creates a job, as pydantic checks it; its sections live in ``services.training``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan

LABEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.\-/]{0,62}$"


class StrictModel(BaseModel):
    """A section of a request: no coercion, no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Resources(StrictModel):
    """What the job needs to run."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; `auto` takes what is free.")


class JobRequest(StrictModel):
    """A model, its data and a plan: everything needed to train it."""

    name: str | None = Field(None, min_length=1, max_length=200, description="A name for people.")
    model: dict[str, Any] | str = Field(
        description="A model definition (`model/1`), a module object, or a constructor expression."
    )
    data: DataSection
    training: TrainingPlan
    checkpoints: CheckpointPolicy = Field(default_factory=CheckpointPolicy)
    resources: Resources = Field(default_factory=Resources)
    max_runtime_seconds: int = Field(86_400, ge=1, le=30 * 86_400, description="The job is stopped after so long.")
    priority: int = Field(0, ge=-100, le=100, description="Higher goes first.")
    labels: dict[Annotated[str, Field(pattern=LABEL_NAME)], Annotated[str, Field(max_length=200)]] = Field(
        default_factory=dict, max_length=64, description="Your own key-value pairs; lists filter by them."
    )
