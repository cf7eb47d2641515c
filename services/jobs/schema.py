"""The request that creates a job, as pydantic checks it; its sections live in ``services.training``."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from services.jobs.schedule import check_time
from services.training.model import Section, problem
from services.training.resources import Resources
from services.training.schema import CheckpointPolicy, DataSection, TrainingPlan
from services.training.start import InitFrom
from services.webhooks.schema import JobWebhook, spell_out

LABEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/]{0,62}\Z")
MAX_RUNTIME_SECONDS = 30 * 86_400
MAX_LABELS = 64

Priority = Annotated[int, Field(ge=-100, le=100)]
LabelValue = Annotated[str, Field(max_length=200)]


def _check_model(value: object) -> object:
    if not isinstance(value, dict | str):
        raise problem(
            "model_type",
            "A model is an object or a constructor expression.",
            hint='For example "Sequential(Linear(64, 10))".',
        )
    return value


def check_labels(labels: dict[str, Any]) -> dict[str, Any]:
    """Return labels whose names can be names.

    Raises:
        PydanticCustomError: ``invalid_label_name``.
    """
    for name in labels:
        if not LABEL_NAME.match(name):
            raise problem(
                "invalid_label_name",
                f"{name[:80]!r} cannot be a label's name.",
                hint="Use up to 63 letters, digits and any of _ . - /, beginning with a letter or digit.",
            )
    return labels


def _spell_out(value: object) -> object:
    return {"checkpoint": value} if isinstance(value, str) else value


Model = Annotated[
    Any, AfterValidator(_check_model), WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}]})
]
Start = Annotated[InitFrom, BeforeValidator(_spell_out, json_schema_input_type=InitFrom | str)]
Hook = Annotated[JobWebhook, BeforeValidator(spell_out, json_schema_input_type=JobWebhook | str)]
Time = Annotated[
    str, AfterValidator(check_time), WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40})
]
Labels = Annotated[dict[str, LabelValue], Field(max_length=MAX_LABELS), AfterValidator(check_labels)]


class JobRequest(Section):
    """A model, its data and a plan: everything needed to train it."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="A name for people.")
    model: Model = Field(description="A model definition (`model/1`), a module object, or a constructor expression.")
    data: DataSection
    training: TrainingPlan
    checkpoints: CheckpointPolicy = Field(default_factory=CheckpointPolicy)
    init_from: Start | None = Field(
        None, description="Weights to begin with: a checkpoint's id, or an object that says which of them."
    )
    resources: Resources = Field(default_factory=Resources)
    max_runtime_seconds: Annotated[int, Field(ge=1, le=MAX_RUNTIME_SECONDS)] = Field(
        86_400, description="The job is stopped after so long."
    )
    priority: Priority = Field(0, description="Higher goes first.")
    start_after: Time | None = Field(
        None,
        description="Not to start before this time (RFC 3339), by the database's clock; one that has passed: at once.",
        examples=["2026-12-24T18:00:00Z"],
    )
    labels: Labels = Field(default_factory=dict, description="Your own key-value pairs; lists filter by them.")
    webhook: Hook | None = Field(
        None, description="Who is told of its events: a webhook's id, an https address, or an object."
    )
