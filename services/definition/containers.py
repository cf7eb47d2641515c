"""What lists, dicts and torch's containers do while a model is built."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

from services.definition.limits import MAX_ITEMS
from services.definition.tree import SEQUENCES, TABLES, TENSOR, UNKNOWN, Node, Opaque

REGISTRIES = ("_modules", "_parameters", "_buffers")
_STACKS = {"TransformerEncoder": "encoder_layer", "TransformerDecoder": "decoder_layer"}


def constant(space: str, name: str) -> object:
    """Return ``math.pi`` and its like; dtypes stay opaque."""
    value = getattr(math, name, UNKNOWN)
    return value if isinstance(value, float) else UNKNOWN


def item(owner: object, key: Any) -> object:  # noqa: ANN401 - whatever the client wrote
    """Return ``owner[key]``."""
    if isinstance(owner, Node):
        return _container_item(owner, key)
    if isinstance(owner, list | tuple | str | range | dict):
        return owner[key]
    raise TypeError(f"{owner!r:.40} has no items")


def _container_item(owner: Node, key: Any) -> object:  # noqa: ANN401 - whatever the client wrote
    if owner.type in TABLES:
        table: dict[str, Any] = {**owner.values, **owner.children}
        return table[str(key)]
    if isinstance(key, slice):
        part = Node(owner.type, owner.place)
        for child in owner.items()[key]:
            part.append(child)
        return part
    if owner.is_numbered() and isinstance(key, int) and -len(owner) <= key < len(owner):
        name = str(key if key >= 0 else len(owner) + key)
        return owner.children[name] if owner.children else owner.values[name]
    return owner.items()[key]


def attribute(owner: Node, name: str) -> object:
    """Return an attribute of a module: a child, a value, or a constructor argument such as ``out_features``."""
    if name in owner.children:
        return owner.children[name]
    for table in (owner.values, owner.arguments):
        if name in table:
            return table[name]
    return TENSOR


def method(owner: object, name: str, arguments: list[Any], keywords: dict[str, Any]) -> object:
    """Call a method of a list, a dict, a container or something opaque."""
    if isinstance(owner, Opaque):
        return TENSOR
    if isinstance(owner, Node):
        return _node_method(owner, name, arguments)
    if isinstance(owner, list):
        if name in {"append", "extend", "insert"} and len(owner) + _added(name, arguments) > MAX_ITEMS:
            raise ValueError(f"a list has at most {MAX_ITEMS} items")
        return getattr(owner, name)(*arguments) if name in _LIST else UNKNOWN
    if isinstance(owner, dict) and name in _DICT:
        result = getattr(owner, name)(*arguments, **keywords)
        return list(result) if name in {"items", "keys", "values"} else result
    return UNKNOWN


_LIST = {"append", "extend", "insert", "pop", "index", "count", "reverse"}
_DICT = {"items", "keys", "values", "get", "update"}


def _added(name: str, arguments: list[Any]) -> int:
    return len(arguments[0]) if name == "extend" and arguments and not isinstance(arguments[0], Node) else 1


def _node_method(owner: Node, name: str, arguments: list[Any]) -> object:
    if name == "requires_grad_":
        owner.trainable = not (arguments and arguments[0] is False)
        return owner
    if name in {"items", "keys", "values"} and owner.type in TABLES:
        table: dict[str, Any] = {**owner.values, **owner.children}
        return {"items": list(table.items()), "keys": list(table), "values": list(table.values())}[name]
    if name in {"append", "extend", "insert", "update"} and owner.is_container():
        _add(owner, name, arguments)
        return owner
    return UNKNOWN


def _add(owner: Node, name: str, arguments: list[Any]) -> None:
    argument = arguments[-1]
    if name == "append":
        owner.append(argument)
    elif name == "insert":
        children = owner.items()
        children.insert(arguments[0], argument)
        owner.children, owner.size = {}, 1
        for child in children:
            owner.append(child)
    elif name == "update":
        rows = argument.items() if isinstance(argument, dict) else argument
        for key, child in rows:
            owner.append(child, str(key))
    else:
        for child in argument.items() if isinstance(argument, Node) else argument:
            owner.append(child)


def pairs(items: object, kind: str) -> list[tuple[Any, Any]]:
    """Return (name, item) for the items of a new container; ``None`` counts from 0.

    Raises:
        TypeError, LookupError: where there are none.
    """
    if kind in TABLES and isinstance(items, Node) and items.type in TABLES:
        return list({**items.values, **items.children}.items())
    rows: list[Any] = items.items() if isinstance(items, Node) else list(cast("Iterable[object]", items or ()))
    if kind in TABLES:
        return [(row[0], row[1]) for row in rows]
    return [(None, row) for row in rows]


_LAYERS = {"num_layers": 1, "num_encoder_layers": 10, "num_decoder_layers": 14}
"""Modules that torch makes for each layer of an argument; a recurrent layer has tensors, and counts as one."""


def hidden_modules(layer: Node) -> int:
    """Return how many modules a torch layer makes of its own."""
    if layer.type in _STACKS:
        return 0
    counts = ((layer.arguments.get(name), each) for name, each in _LAYERS.items())
    return sum(count * each for count, each in counts if isinstance(count, int) and count > 0)


def inner_modules(layer: Node) -> dict[str, Node]:
    """Return the modules that a torch layer was given: the layer of a TransformerEncoder, once for each copy."""
    given = {name: value for name, value in layer.arguments.items() if isinstance(value, Node)}
    stack = _STACKS.get(layer.type)
    if stack is None or stack not in given:
        return given
    count = layer.arguments.get("num_layers")
    copies = Node("ModuleList", layer.place)
    template = given.pop(stack)
    copies.size += template.size * (count if isinstance(count, int) else 1)
    for _ in range(min(count, 64) if isinstance(count, int) else 1):
        copies.append(template)
    return {"layers": copies, **given}


__all__ = ["REGISTRIES", "SEQUENCES", "attribute", "constant", "inner_modules", "item", "method", "pairs"]
