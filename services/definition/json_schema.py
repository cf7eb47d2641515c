"""The JSON Schema of model documents, for editors: layer names, their arguments, the grammar of blocks."""

from __future__ import annotations

from functools import cache
from typing import Any

from services.definition.bindings import DTYPES
from services.definition.catalog import CATALOG, Entry
from services.definition.limits import MAX_AT_MOST, MAX_DIMENSION, MAX_RECURSION, MAX_TEXT_CHARACTERS

JsonSchema = dict[str, Any]
_NAME = "^[A-Za-z][A-Za-z0-9_]*$"
_TEXT: JsonSchema = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARACTERS}
_CONTAINERS = {"Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}


@cache
def model_schema() -> JsonSchema:
    """Return the JSON Schema (2020-12) of what ``check`` takes: a document, or a module position alone."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A model in the language model/1",
        "anyOf": [{"$ref": "#/$defs/document"}, _TEXT, {"$ref": "#/$defs/torch_layer"}],
        "$defs": {
            "document": _document(),
            "module": {
                "description": "A constructor expression, or an object with a type.",
                "anyOf": [{**_TEXT, "examples": ["Linear(64, 10)"]}, {"$ref": "#/$defs/layer"}],
            },
            "torch_layer": {"anyOf": [_layer(entry) for entry in CATALOG.classes.values()]},
            "layer": {"anyOf": [{"$ref": "#/$defs/torch_layer"}, _own_layer()]},
            "definition": _definition(),
            "function": _function(),
            "parameters": _array({"anyOf": [{"type": "string", "pattern": _NAME}, _default()]}),
            "init": _array({"$ref": "#/$defs/item"}),
            "item": _item(),
            "body": _array({"anyOf": [_TEXT, *_blocks("#/$defs/body")]}),
            "input": _input(),
        },
    }


def _array(items: JsonSchema) -> JsonSchema:
    return {"type": "array", "items": items}


def _object(properties: JsonSchema, required: tuple[str, ...] = (), *, more: object = False) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": more}


def _document() -> JsonSchema:
    modules = {"type": "object", "propertyNames": {"pattern": _NAME},
               "additionalProperties": {"$ref": "#/$defs/definition"}}  # fmt: skip
    return _object(
        {
            "format": {"const": "model/1"},
            "modules": modules,
            "model": {"$ref": "#/$defs/module"},
            "inputs": _array({"anyOf": [{"type": "string", "pattern": _NAME}, {"$ref": "#/$defs/input"}]}),
            "outputs": _array({"type": "string", "pattern": _NAME}),
        },
        ("model",),
    )


def _layer(entry: Entry) -> JsonSchema:
    if entry.name in _CONTAINERS:
        return _container(entry)
    schema = entry.json_schema()
    schema["properties"] = {"type": {"const": entry.name}, **schema["properties"], "trainable": {"type": "boolean"}}
    schema["required"] = ["type", *schema["required"]]
    return {"title": entry.name, **schema}


def _container(entry: Entry) -> JsonSchema:
    holds_modules = not entry.name.startswith("Parameter")
    member = "layers" if holds_modules else "parameters"
    tensor = _object({"parameter": True, "trainable": {"type": "boolean"}}, ("parameter",))
    item: JsonSchema = (
        {"$ref": "#/$defs/module"} if holds_modules else {"anyOf": [{"type": ["string", "number"]}, tensor]}
    )
    named = {"type": "object", "minProperties": 1, "additionalProperties": item}
    items = {"anyOf": [_array({"anyOf": [item, named]}), named]}
    properties = {"type": {"const": entry.name}, member: items, "trainable": {"type": "boolean"}}
    required = ("type", member) if entry.name == "Sequential" else ("type",)
    return {"title": entry.name, "description": entry.doc, **_object(properties, required)}


def _own_layer() -> JsonSchema:
    """A definition of the same document: its name is any that the catalog does not have."""
    name = {"type": "string", "pattern": _NAME, "not": {"enum": sorted(CATALOG.classes)}}
    return {"title": "a definition of this document", **_object({"type": name}, ("type",), more=True)}


def _default() -> JsonSchema:
    return _object({"name": {"type": "string", "pattern": _NAME}, "default": True}, ("name",))


def _definition() -> JsonSchema:
    parameters, init = {"$ref": "#/$defs/parameters"}, {"$ref": "#/$defs/init"}
    forward = {"anyOf": [{"$ref": "#/$defs/body"}, {"$ref": "#/$defs/function"}]}
    methods = {"type": "object", "additionalProperties": {"$ref": "#/$defs/function"}}
    module = {"parameters": parameters, "init": init, "forward": forward, "methods": methods}
    macro = {"parameters": parameters, "init": init, "returns": {"$ref": "#/$defs/module"}}
    kinds = [
        {"title": "a module", **_object(module, ("forward",))},
        {"title": "a macro: it returns modules", **_object(macro, ("returns",))},
        {"title": "a function", **_function()},
    ]
    return {"anyOf": kinds}


def _function() -> JsonSchema:
    bound = {"type": "integer", "minimum": 1, "maximum": MAX_RECURSION, "description": "How deep it may call itself."}
    members = {"arguments": {"$ref": "#/$defs/parameters"}, "body": {"$ref": "#/$defs/body"}, "at_most": bound}
    return _object(members, ("body",))


def _item() -> JsonSchema:
    rules = _object(
        {"type": True, "name": {"type": "string"}, "parameter": {"type": "string"}, "init": _TEXT}, ("init",)
    )
    kinds = [
        _object({"parameter": True, "trainable": {"type": "boolean"}}, ("parameter",)),
        _object({"buffer": True, "persistent": {"type": "boolean"}}, ("buffer",)),
        _object({"value": True}, ("value",)),
        {"$ref": "#/$defs/module"},
    ]
    named = {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"anyOf": kinds}}
    tie = _object({"tie": {"type": "array", "items": {"type": "string"}, "minItems": 2}}, ("tie",))
    return {
        "anyOf": [_TEXT, *_blocks("#/$defs/init")[:3], tie, _object({"weights": _array(rules)}, ("weights",)), named]
    }


def _blocks(body: str) -> list[JsonSchema]:
    inside: JsonSchema = {"$ref": body}
    bound = {"type": "integer", "minimum": 1, "maximum": MAX_AT_MOST}
    return [
        _object({"for": {**_TEXT, "examples": ["i in range(3)"]}, "do": inside}, ("for", "do")),
        _object({"if": _TEXT, "then": inside, "else": inside}, ("if", "then")),
        _object({"no_grad": inside}, ("no_grad",)),
        _object({"while": _TEXT, "at_most": bound, "do": inside}, ("while", "at_most", "do")),
    ]


def _input() -> JsonSchema:
    size = {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": MAX_DIMENSION}, {"type": "string", "pattern": _NAME}]
    }
    properties = {
        "name": {"type": "string", "pattern": _NAME},
        "column": {"type": "string"},
        "dtype": {"enum": list(DTYPES)},
        "shape": _array(size),
        "optional": {"type": "boolean"},
    }
    return _object(properties, ("name",))
