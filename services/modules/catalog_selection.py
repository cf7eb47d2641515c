"""Which names of the installed torch the language admits, read from ``catalog_selection.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

_DATA: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def _names(key: str) -> frozenset[str]:
    return frozenset(_DATA[key].split())


REFUSED_CLASSES = _names("refused_classes")
REFUSED_FUNCTIONALS = _names("refused_functionals")
TORCH_FUNCTIONS = _names("torch_functions")
TENSOR_METHODS = _names("tensor_methods")
TENSOR_ATTRIBUTES = _names("tensor_attributes")
LIST_METHODS = _names("list_methods")
DICT_METHODS = _names("dict_methods")
CONTAINER_METHODS = _names("container_methods")
LAYER_ATTRIBUTES = _names("layer_attributes")
"""Attributes of leaf layers that a forward may read: their parameters, buffers and sizes."""
MATH_FUNCTIONS = _names("math_functions")
MATH_CONSTANTS = _names("math_constants")
TORCH_CONSTANTS = _names("torch_constants")
REFUSED_ARGUMENTS = _names("refused_arguments")
"""Arguments that the run decides, that take code, or that write elsewhere."""
HARMLESS_NAMES = _names("harmless_names")
"""Names of str that a part of a module may have all the same."""
NESTED_FUNCTIONS = {space: frozenset(names.split()) for space, names in _DATA["nested_functions"].items()}
