"""The shapes of answers about graphs, for the OpenAPI document alone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import View


class GraphView(View):
    """The computational graph of one run (`graph/1`)."""

    object: Literal["graph"]
    format: Literal["graph/1"]
    mode: Literal["train", "eval"]
    seed: int
    dtype: str
    nodes: list[dict[str, Any]] = Field(description="Data: inputs, parameters, buffers, constants, values, outputs.")
    operations: list[dict[str, Any]] = Field(description="From `inputs` to `outputs`, in the order in which they ran.")
    modules: list[dict[str, Any]]
    loops: list[dict[str, Any]] = Field(description="How often each loop turned.")
    branches: list[dict[str, Any]] = Field(description="Which way each branch went.")
    decisions: list[dict[str, Any]] = Field(description="Tensors whose truth decided, in order.")
    outputs: list[str]
    output_names: list[str]
    totals: dict[str, Any]
    first_non_finite: dict[str, Any] | None = Field(description="The first operation that made a NaN or an infinity.")
    truncated: dict[str, Any] | None
    backward: dict[str, Any] = Field(description="Autograd's own graph: `nodes` and `edges`.")
    gradients: dict[str, Any] | None


class GraphDiffView(View):
    """In what runs of one definition differ."""

    object: Literal["graph_diff"]
    format: Literal["graph_diff/1"]
    mode: Literal["train", "eval"]
    seed: int
    dtype: str
    runs: list[dict[str, Any]] = Field(description="Inputs, outputs, totals, loops and branches of each run.")
    same: bool = Field(description="Whether all runs built the same graph.")
    differences: dict[str, list[dict[str, Any]]] = Field(
        description="`loops` with their turns, `branches` with what was taken, `operations` and `modules` with counts; "
        "one entry for each run, in order."
    )
