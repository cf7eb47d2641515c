"""A ``graph/1`` document as objects: what the pictures read of it, with absent members filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Steps = tuple[tuple[str, str], ...]
"""Blocks around an operation, the outermost first: (pointer, turn or arm)."""


@dataclass(frozen=True, slots=True)
class Datum:
    """One piece of data: a node of the graph."""

    id: str
    kind: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool
    value: Any
    summary: Mapping[str, Any]
    gradient: Any
    gradient_norm: float | None

    @property
    def not_finite(self) -> tuple[int, int]:
        """How many elements are NaN, and how many infinite."""
        return int(self.summary.get("nan") or 0), int(self.summary.get("inf") or 0)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: an edge from its inputs to its outputs."""

    id: str
    name: str
    torch: str
    inputs: tuple[str, ...]
    input_gradients: tuple[float | None, ...]
    """For each input the norm of what this use adds to its gradient."""
    outputs: tuple[str, ...]
    arguments: Mapping[str, Any]
    module: str
    call: int
    place: str
    source: str
    loops: Steps
    branches: Steps
    backward: str
    in_place: bool
    first_non_finite: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the model, by its path in ``named_modules()``."""

    path: str
    type: str
    calls: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Document:
    """The whole graph."""

    data: dict[str, Datum]
    operations: dict[str, Operation]
    modules: dict[str, Module]
    loops: dict[str, tuple[str, int]]
    """Pointer → what the definition says of it (``while x > 1``), and turns."""
    branches: dict[str, str]
    """Pointer → condition."""
    outputs: frozenset[str]
    kept_and_left_out: tuple[int, int] | None
    """How many operations are in the document and how many ran beyond; None where all are."""
    wrong_gradient: str | None
    """The operation that made the first gradient that is not finite."""

    @property
    def has_gradients(self) -> bool:
        """Whether gradients were computed."""
        return any(datum.gradient_norm is not None for datum in self.data.values())


def read(graph: Mapping[str, Any]) -> Document:
    """Return the document as objects.

    Raises:
        ValueError: it is not a ``graph/1`` document.
    """
    if graph.get("format") != "graph/1":
        raise ValueError(f"not a graph/1 document: {graph.get('format')!r}")
    data = {one["id"]: _datum(one) for one in graph["nodes"]}
    operations = {one["id"]: _operation(one) for one in graph["operations"]}
    modules = [_module(one) for one in graph.get("modules") or ()]
    loops = {one["pointer"]: (_said(one), int(one["turns"])) for one in graph.get("loops") or ()}
    cut = (graph.get("truncated") or {}).get("operations")
    branches = {one["pointer"]: str(one.get("condition") or "") for one in graph.get("branches") or ()}
    return Document(
        data,
        operations,
        {module.path: module for module in modules},
        loops,
        branches,
        frozenset(graph.get("outputs") or ()),
        (int(cut["kept"]), int(cut["left_out"])) if cut else None,
        ((graph.get("gradients") or {}).get("first_non_finite") or {}).get("operation"),
    )


def _said(loop: Mapping[str, Any]) -> str:
    return f"{loop['kind']} {loop.get('condition') or ''}".rstrip()


def _datum(one: Mapping[str, Any]) -> Datum:
    gradient = one.get("gradient") or {}
    return Datum(
        id=one["id"],
        kind=one["kind"],
        name=one.get("name") or "",
        shape=tuple(one.get("shape") or ()),
        dtype=(one.get("dtype") or "").removeprefix("torch."),
        requires_grad=bool(one.get("requires_grad")),
        value=one.get("value"),
        summary=one.get("summary") or {},
        gradient=gradient.get("value"),
        gradient_norm=_number(gradient.get("norm")),
    )


def _number(value: object) -> float | None:
    """Read a number, or the word for one that JSON does not have."""
    return float(value) if isinstance(value, int | float | str) else None


def _operation(one: Mapping[str, Any]) -> Operation:
    place = one.get("pointer") or ""
    if place and one.get("column") is not None:
        place += f" column {one['column']}"
    return Operation(
        id=one["id"],
        name=one["name"],
        torch=one.get("torch") or "",
        inputs=tuple(one["inputs"]),
        input_gradients=tuple(_number(norm) for norm in one.get("input_gradients") or [None] * len(one["inputs"])),
        outputs=tuple(one["outputs"]),
        arguments=one.get("arguments") or {},
        module=one.get("module") or "",
        call=int(one.get("call") or 1),
        place=place,
        source=one.get("source") or "",
        loops=tuple((step["pointer"], str(step["turn"])) for step in one.get("loops") or ()),
        branches=tuple((step["pointer"], str(step["taken"])) for step in one.get("branches") or ()),
        backward=one.get("backward") or "",
        in_place=bool(one.get("in_place")),
        first_non_finite=bool(one.get("first_non_finite")),
    )


def _module(one: Mapping[str, Any]) -> Module:
    return Module(one["path"], one["type"], int(one.get("calls") or 0), int(one.get("parameters") or 0))
