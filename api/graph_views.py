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


class CaptureView(View):
    """How a definition was captured as one static graph."""

    object: Literal["graph_capture"]
    mode: Literal["train", "eval"]
    seed: int
    dtype: str
    captured: bool = Field(description="Whether forward is one graph.")
    breaks: list[dict[str, Any]] = Field(
        description="Where it is not: `pointer`, `column`, `line` and `source` of the emitted code, `reason`, `hint`, "
        "and what torch says."
    )
    means: list[dict[str, Any]] = Field(
        description="`torch.compile(fullgraph=True)` and `torch.export`: captured or why not, seconds, and the largest "
        "absolute difference of the outputs from the dynamic run."
    )
    gradient: dict[str, Any] | None = Field(
        description="Whether the backward pass is captured too, and its difference from autograd's; `zero_for_none` "
        "counts parameters of a way not taken: without a gradient in the model, with a zero one in the graph."
    )
    same_shapes: dict[str, Any] | None = Field(description="The captured graph on a second batch of the same shapes.")
    other_batch: dict[str, Any] | None = Field(
        description="The captured graph on a batch of another `size`: as captured (`frozen`), and captured with `free` "
        "sizes."
    )
    branches: list[dict[str, Any]] = Field(
        description="What each branch `became`: `cond`, `constant` (decided while capturing), `python`, "
        "`not_captured`, `not_reached`; and the ways `taken` in this run."
    )
    loops: list[dict[str, Any]] = Field(
        description="What each loop `became`: `while_loop`, `unrolled`, `python`, `not_captured`, `not_reached`; and "
        "its `turns` in this run."
    )
    graph: dict[str, Any] | None = Field(
        description="The captured graph as `graph/1` without values, its `subgraphs` by name, and its `code` as torch "
        "prints it."
    )
    torch: str


class ComparisonView(View):
    """Training steps of one definition, dynamic and static, measured in turns."""

    object: Literal["graph_comparison"]
    mode: Literal["train", "eval"]
    seed: int
    dtype: str
    steps_measured: int
    dynamic: dict[str, Any] = Field(
        description="`build_seconds`, `step_seconds` (median, quartiles, least), `kept_bytes` of activations, "
        "`process_peak_bytes`: of the child process so far, after this form's first step; dynamic comes first."
    )
    static: dict[str, Any] = Field(description="The same, and the `backend` that ran the captured graph.")
    speedup: float = Field(description="Median dynamic step ÷ median static step.")
    faster: Literal["dynamic", "static"] | None = Field(
        description="Whose steps are faster, by a sign test at 1 % over steps made in turns; null: it may be chance."
    )
    break_even_steps: int | None = Field(
        description="After so many steps the static graph has earned its building; null: it is not clearly faster."
    )
    max_abs_difference: float | None = Field(description="Of the outputs.")
    changes: list[dict[str, Any]] = Field(
        description="A batch of another size, inputs that take another branch, one more layer: what was `tried` and "
        "what both forms did."
    )
    device: str
    torch: str
    picture: dict[str, Any] = Field(description="`svg`: time spent after so many steps, with the break-even.")
