"""Who runs a captured graph: chosen by what it holds and where it runs. Measured in docs/decisions/0014."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

Call = Callable[..., Any]


@dataclass(slots=True)
class Compiled:
    """A model compiled as one graph; captured at its first call. ``graphs`` holds what was captured, in order."""

    call: Call
    graphs: list[fx.GraphModule] = field(default_factory=list)
    backends: list[str] = field(default_factory=list)
    """Which backend runs each graph."""


def compile_model(
    model: nn.Module, *, device: str = "cpu", dynamic: bool = False, backend: str | None = None
) -> Compiled:
    """Return the model compiled as one graph for fixed sizes (or for free ones); nothing is captured yet.

    On a GPU inductor makes the kernels. On a CPU a captured graph is run operation by operation: inductor was not
    faster there and took tens of seconds to build. A graph with operations for branches or loops has its backward
    made ahead of time, for torch would make it anew at every step.
    """
    compiled = Compiled(call=model)

    def run(graph: fx.GraphModule, example: list[Tensor]) -> Call:
        name = backend or ("inductor" if device == "cuda" else "aot_eager" if has_control_flow(graph) else "eager")
        compiled.graphs.append(graph)
        compiled.backends.append(name)
        made: Call = torch._dynamo.lookup_backend(name)(graph, example)
        return made

    torch._dynamo.config.allow_rnn = True
    compiled.call = torch.compile(model, fullgraph=True, dynamic=dynamic, backend=run)
    return compiled


def has_control_flow(graph: fx.GraphModule) -> bool:
    """Tell whether a graph holds ``cond`` or ``while_loop``."""
    return any(
        getattr(node.target, "__name__", "") in ("cond", "while_loop")
        for part in graph.modules()
        if isinstance(part, fx.GraphModule)
        for node in part.graph.nodes
    )
