"""The shapes of answers about checkpoints, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import ListView, Time, View


class CheckpointView(View):
    """What training had learnt at one step."""

    id: str = Field(examples=["ckpt_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    object: Literal["checkpoint"]
    job_id: str
    step: int
    epoch: int
    final: bool = Field(description="Whether this is how the job ended.")
    best: bool = Field(description="Whether this is the one that `checkpoints.best` keeps.")
    pinned: bool = Field(description="Whether it is kept whatever comes after it.")
    metrics: dict[str, Any]
    sha256: str
    size_bytes: int
    created_at: str = Time


class CheckpointExportView(View):
    """A checkpoint in another format."""

    object: Literal["checkpoint_export"]
    checkpoint_id: str
    format: Literal["torch", "onnx", "torch-export"]
    file_name: str
    size_bytes: int
    sha256: str
    free_sizes: list[str] = Field(description='Sizes that stayed free, "B" for the batch.')
    fixed_sizes: dict[str, int] = Field(description="Sizes that the exporter could not keep free.")
    inputs: dict[str, Any]
    outputs: list[dict[str, Any]]
    difference: dict[str, Any] | None = Field(description="To eager PyTorch: `max_abs`, `max_rel`, over `batches`.")
    versions: dict[str, str]


class CheckpointModelView(View):
    """All that rebuilds the model of a checkpoint, beside its weights."""

    object: Literal["checkpoint_model"]
    checkpoint_id: str
    job_id: str
    step: int
    definition: dict[str, Any] | str
    definition_sha256: str
    source: str = Field(description="Plain PyTorch that needs nothing of ours.")
    inputs: dict[str, Any] = Field(description="Dtype and shape of each, in calling order.")
    data: dict[str, Any] = Field(description="Which columns feed which inputs, and how they are prepared.")
    weights: dict[str, Any]


class CheckpointList(ListView):
    """A page of checkpoints."""

    data: list[CheckpointView]
