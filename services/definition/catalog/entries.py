"""Typed access to the catalog file, and the JSON Schema of each entry."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_PATH = Path(__file__).with_name("catalog.json")
_MISSING = object()
_INTEGERS = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": ["integer", "null"]}}]}
"""Adaptive pools take null for «as it comes»."""
_PADDING = {"anyOf": [*_INTEGERS["anyOf"], {"enum": ["same", "valid"]}]}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "ints": _INTEGERS,
    "number": {"type": "number"},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "module": {"$ref": "#/$defs/module"},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a catalog entry. ``kind``: p positional only, a any, * rest, k keyword only."""

    name: str
    kind: str
    type: str
    default: object = _MISSING

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is _MISSING and self.kind != "*"

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the values it takes."""
        schema = dict(_PADDING if (self.name, self.type) == ("padding", "ints") else _SCHEMAS.get(self.type, {}))
        if not self.required and self.kind != "*":
            if self.default is None and schema:
                schema = {"anyOf": [schema, {"type": "null"}]}
            schema["default"] = self.default
        return schema


@dataclass(frozen=True, slots=True)
class Entry:
    """A class, function or method: its one-line doc and the overloads of its signature (none: only torch knows)."""

    name: str
    doc: str
    signatures: tuple[tuple[Parameter, ...], ...]
    family: str = ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The first signature; classes have exactly one."""
        return self.signatures[0] if self.signatures else ()

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, as an object."""
        named = [parameter for parameter in self.parameters if parameter.kind != "*"]
        return {
            "type": "object",
            "description": self.doc,
            "properties": {parameter.name: parameter.json_schema() for parameter in named},
            "required": [parameter.name for parameter in named if parameter.required],
            "additionalProperties": False,
        }


class Catalog:
    """The whole closed catalog."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.torch_version: str = data["torch"]
        self.reserved = frozenset(data["reserved"])
        self.attributes = frozenset(data["attributes"])
        self.layer_attributes = frozenset(data["layer_attributes"])
        self.list_methods = frozenset(data["list_methods"])
        self.dict_methods = frozenset(data["dict_methods"])
        self.refused_arguments = frozenset(data["refused_arguments"])
        self.constants = {space: frozenset(names) for space, names in data["constants"].items()}
        self.classes = {
            name: Entry(name, row["doc"], _signatures([row["parameters"]]), row["family"])
            for name, row in data["classes"].items()
        }

    @cached_property
    def functions(self) -> dict[str, dict[str, Entry]]:
        """Functions by namespace: torch, F, init, math, torch.linalg, torch.fft, torch.special, nn.utils.rnn …"""
        return {space: _entries(rows) for space, rows in self._data["functions"].items()}

    @cached_property
    def methods(self) -> dict[str, Entry]:
        """Tensor methods."""
        return _entries(self._data["methods"])

    @cached_property
    def refused(self) -> dict[str, frozenset[str]]:
        """Names of torch that were seen and left out, by namespace."""
        return {space: frozenset(names) for space, names in self._data["refused"].items()}

    def layers(self) -> Iterable[Entry]:
        """Iterate over the classes that are not losses."""
        return (entry for entry in self.classes.values() if entry.family != "loss")


def _entries(rows: dict[str, Any]) -> dict[str, Entry]:
    return {name: Entry(name, row["doc"], _signatures(row["signatures"])) for name, row in rows.items()}


def _signatures(overloads: list[list[list[Any]]]) -> tuple[tuple[Parameter, ...], ...]:
    return tuple(tuple(Parameter(*row) for row in rows) for rows in overloads)


CATALOG = Catalog(json.loads(_PATH.read_text(encoding="utf-8")))
