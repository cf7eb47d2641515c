"""Nested Python state as JSON beside named tensors, and back without loss: no pickle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_TENSOR, _TUPLE, _PAIRS, _COUNTER = "__tensor__", "__tuple__", "__pairs__", "__counter__"
_PLAIN = (bool, int, float, str, type(None))


def pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:  # noqa: ANN401 - any state at all
    """Return the JSON form of ``value``; its tensors go to ``tensors``, under names that begin with ``name``.

    Raises:
        TypeError: it holds something that is neither plain data nor a tensor.
    """
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list):
        return [pack(item, f"{name}.{index}", tensors) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {_TUPLE: pack(list(value), name, tensors)}
    if isinstance(value, Mapping):
        if type(value) is dict and all(isinstance(key, str) for key in value):
            return {key: pack(item, f"{name}.{key}", tensors) for key, item in value.items()}
        tag = _COUNTER if isinstance(value, Counter) else _PAIRS
        return {tag: [[key, pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


def unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:  # noqa: ANN401 - any state at all
    """Return what ``pack`` was given."""
    if not isinstance(value, dict):
        return [unpack(item, tensors) for item in value] if isinstance(value, list) else value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(unpack(value[_TUPLE], tensors))
    for tag, kind in ((_PAIRS, dict), (_COUNTER, Counter)):
        if tag in value:
            return kind({key: unpack(item, tensors) for key, item in value[tag]})
    return {key: unpack(item, tensors) for key, item in value.items()}
