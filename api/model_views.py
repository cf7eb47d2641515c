"""The shapes of answers about models, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.views import ListView, Time, View


class ModelDocument(BaseModel):
    """A model definition. A bare module (an object with `type`) is a whole document too."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["model/1"] = "model/1"
    modules: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Modules, macros and functions by name."
    )
    model: dict[str, Any] | str = Field(description="What is built.", examples=["Sequential(Linear(64, 10))"])
    inputs: list[dict[str, Any]] = Field(default_factory=list, description="`name`, `dtype`, `shape` of each input.")
    outputs: list[str] = Field(default_factory=list, description="Names of what `forward` returns.")


class ModelView(View):
    """A definition that was checked, under an id of its own."""

    id: str = Field(examples=["mdl_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["model"]
    sha256: str = Field(description="Of the canonical definition: the same content is the same model.")
    parameters: dict[str, int]
    definition: dict[str, Any]
    preflight: dict[str, Any]
    created_at: str = Time
    links: dict[str, str]


class ModelValidationView(View):
    """What the checks found of a sound definition."""

    object: Literal["validation"]
    valid: Literal[True]
    sha256: str
    preflight: dict[str, Any]
    summary: str


class ModelSummaryView(View):
    """The tree of a model's modules."""

    object: Literal["model_summary"]
    model_id: str
    tree: dict[str, Any]
    text: str


class EditView(View):
    """What an edit made."""

    object: Literal["edit"]
    model: ModelView
    from_: str = Field(alias="from", description="The model that was edited.")
    weights: dict[str, Any] = Field(description="`carried` (new path → old path), `new`, `dropped`.")


class ModelList(ListView):
    """A page of models."""

    data: list[ModelView]
