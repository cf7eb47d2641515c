"""A recorded graph: data as nodes, operations as edges between them, and where in the document each was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

Kind = Literal["input", "parameter", "buffer", "constant", "value", "output"]
Active = tuple[tuple[str, Any], ...]
"""Blocks around an operation, outermost first: (pointer, turn) of loops, (pointer, "then" or "else") of branches."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the definition something happens, and inside which turns and branches."""

    pointer: str | None = None
    column: int | None = None
    line: int | None = None
    source: str | None = None
    loops: Active = ()
    branches: Active = ()


@dataclass(slots=True, eq=False)
class Node:
    """One version of one piece of data; an operation in place makes a new node of the same tensor."""

    number: int
    kind: Kind
    name: str | None
    tensor: torch.Tensor | None
    """The tensor of the run itself, kept alive so that nothing else gets its identity; None for a Python number."""
    value: torch.Tensor | float
    """What it held at this version; detached, and a copy of its own once something writes to the tensor."""
    requires_grad: bool
    leaf: bool
    producer: Operation | None = None
    position: int = 0
    """Which output of its producer it is."""
    uses: int = 0
    version: int = 0
    """The tensor's own version counter when this node was made."""

    @property
    def id(self) -> str:
        """The node's name in a document."""
        return f"n{self.number}"

    def tensor_value(self) -> torch.Tensor:
        """Return the value as a tensor."""
        return self.value if isinstance(self.value, torch.Tensor) else torch.tensor(self.value)


@dataclass(frozen=True, slots=True)
class Slot:
    """Stands in the arguments of an operation for its input of this position."""

    position: int


@dataclass(slots=True, eq=False)
class Operation:
    """One call, with everything that it takes to call it again."""

    number: int
    name: str
    title: str | None
    """The function's full name in torch."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    """Arguments with a `Slot` where an input stood."""
    inputs: list[Node]
    outputs: list[Node] = field(default_factory=list)
    results: list[tuple[Literal["result", "slot"], int]] = field(default_factory=list)
    """For each output: a tensor of the function's result, or an input that the function wrote to."""
    aten: list[str] = field(default_factory=list)
    site: Site = field(default_factory=Site)
    module: str = ""
    call: int = 0
    random_state: torch.Tensor | None = None
    """The generator's state before the call, where the call drew from it."""
    backward: str | None = None

    @property
    def id(self) -> str:
        """The operation's name in a document."""
        return f"e{self.number}"

    @property
    def in_place(self) -> bool:
        """Whether an input was written to."""
        return any(kind == "slot" for kind, _ in self.results)


@dataclass(slots=True)
class Decision:
    """A tensor whose truth decided how the run went on."""

    node: Node
    value: bool
    site: Site


def nested(value: object) -> list[Any]:
    """Return the items of a list, tuple or dict; of anything else, nothing."""
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def tensors_in(value: object) -> list[torch.Tensor]:
    """Return the tensors in a value, nested ones included, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for item in nested(value) for tensor in tensors_in(item)]


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - arguments of any function
    """Return ``value`` with every leaf of its lists, tuples and dicts changed."""
    if isinstance(value, dict):
        return {name: replaced(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        items = [replaced(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return change(value)
