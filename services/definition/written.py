"""Writes what was built back as module positions, with every value filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.definition.catalog import CATALOG
from services.definition.tree import TABLES, Node

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


class Unwritable(Exception):
    """This value has no literal; the text says which."""


def written(node: Node) -> Any:  # noqa: ANN401 - a module position
    """Return the module position that builds an equal module.

    Raises:
        Unwritable: an argument is a tensor, or one module stands at several places.
    """
    inside = [id(child) for _, child in node.walk()]
    if len(set(inside)) < len(inside):
        raise Unwritable(f"one module stands at several places of this {node.type}")
    return _position(node)


def _position(node: Node) -> Any:  # noqa: ANN401 - a module position
    frozen = {} if node.trainable else {"trainable": False}
    if node.type in _CONTAINERS:
        return {"type": node.type, "layers": layers(node), **frozen}
    if node.type in CATALOG.classes and not node.is_container():
        return {"type": node.type, **{name: _json(value) for name, value in node.arguments.items()}, **frozen}
    if node.is_container():
        raise Unwritable(f"a {node.type} holds tensors that only a run knows")
    arguments = ", ".join(f"{name}={_literal(value)}" for name, value in node.arguments.items())
    return f"{node.type}({arguments})" + ("" if node.trainable else ".requires_grad_(False)")


def layers(node: Node) -> list[Any]:
    """Return the items of a container as positions, named where their names are not their numbers."""
    numbered = [*node.children] == [str(index) for index in range(len(node.children))]
    if node.type in TABLES or not numbered:
        return [{name: _position(child)} for name, child in node.children.items()]
    return [_position(child) for child in node.children.values()]


def text_of(position: Any) -> str:  # noqa: ANN401 - a module position
    """Return a module position as a constructor expression."""
    if not isinstance(position, Mapping):
        return str(position)
    arguments = {name: value for name, value in position.items() if name not in {"type", "layers", "trainable"}}
    inside = ", ".join(f"{name}={_of_json(value)}" for name, value in arguments.items())
    if "layers" in position:
        inside = _layers_text(position["type"], position["layers"])
    return f"{position['type']}({inside})" + (".requires_grad_(False)" if position.get("trainable") is False else "")


def _layers_text(kind: str, items: Any) -> str:  # noqa: ANN401 - an array or an object
    rows = [{name: item} for name, item in items.items()] if isinstance(items, Mapping) else items
    named = [next(iter(row.items())) if _is_named(row) else (str(index), row) for index, row in enumerate(rows)]
    if kind == "ModuleDict" or any(_is_named(row) for row in rows):
        table = "{" + ", ".join(f"{name!r}: {text_of(item)}" for name, item in named) + "}"
        return f"OrderedDict({table})" if kind == "Sequential" else table
    texts = ", ".join(text_of(item) for _, item in named)
    return texts if kind == "Sequential" else f"[{texts}]"


def _is_named(row: object) -> bool:
    return isinstance(row, Mapping) and len(row) == 1 and "type" not in row


def _of_json(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping) and "type" in value:
        return text_of(value)
    if isinstance(value, list):
        return "(" + "".join(f"{_of_json(item)}, " for item in value) + ")"
    return repr(value)


def _json(value: object) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Node):
        return _position(value)
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Unwritable(f"{value!r:.60} has no literal")


def literal_of(value: object) -> str | None:
    """Return the expression that gives a plain value, or ``None`` where only a run knows it."""
    try:
        return _literal(value)
    except Unwritable:
        return None


def _literal(value: object) -> str:
    if isinstance(value, Node):
        return text_of(_position(value))
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{_literal(item)}, " for item in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool | int | str | range):
        return repr(value)
    if isinstance(value, float) and value - value == 0:
        return repr(value)
    raise Unwritable(f"{value!r:.60} has no literal")
