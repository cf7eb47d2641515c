"""What the tests of graphs share: short definitions run as the service's child runs them."""

from __future__ import annotations

from typing import Any

from services.definition import check
from services.modules.graph.run import graph

REQUEST: dict[str, Any] = {
    "training": True,
    "seed": 0,
    "dtype": "float64",
    "weights": None,
    "max_parameters": None,
    "pointer": "/model",
    "operations": 2000,
    "values": 64,
    "seconds": 30,
    "gradients": {},
    "builtin": None,
    "inputs": None,
}


def net(forward: list[Any], init: list[Any] | None = None, arguments: list[str] | None = None, **more: Any) -> Any:
    """Return a document with one module."""
    body: Any = forward if arguments is None else {"arguments": arguments, "body": forward}
    return {"modules": {"Net": {"init": init or [], "forward": body}}, "model": "Net()", **more}


def tensor(values: Any) -> dict[str, Any]:
    """Return nested lists as a child gets them: flat, with their shape."""
    shape: list[int] = []
    probe = values
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0]

    def flat(item: Any) -> list[Any]:
        return [one for part in item for one in flat(part)] if isinstance(item, list) else [item]

    return {"value": flat(values), "shape": shape}


def traced(document: Any, given: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    """Return the graph of one run on nested lists."""
    inputs = None if given is None else {name: tensor(value) for name, value in given.items()}
    return graph(check(document), {**REQUEST, "inputs": inputs, **request})


def leaf(made: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what an answer says about the gradient of one leaf."""
    return next(one for one in made["gradients"]["leaves"] if one["name"] == name)


def ops(made: dict[str, Any]) -> list[str]:
    """Return the names of the operations in order."""
    return [one["name"] for one in made["operations"]]
