"""Turns what pydantic says about a request into problems with our codes, pointers, limits and nearest names."""

from __future__ import annotations

import difflib
import functools
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from services.errors import Problem

_TOO_BIG_OR_SMALL = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"}
_TOO_LONG_OR_SHORT = {"too_short", "too_long", "string_too_short", "string_too_long"}
_OUT_OF_RANGE = frozenset(_TOO_BIG_OR_SMALL | _TOO_LONG_OR_SHORT | {"int_parsing_size"})
_NOT_AN_OBJECT = frozenset({"model_type", "model_attributes_type", "dict_type", "dict_attributes_type"})
_WORDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "list_type": "an array",
    "dict_type": "an object",
}
_SCALARS = ("string", "integer", "number", "boolean")
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "greater than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minProperties": "at least {} members",
    "maxProperties": "at most {} members",
}
_REFUSED_TYPES = dict.fromkeys(
    ("LambdaLR", "MultiplicativeLR"), "its argument is a Python function, and a request holds none"
)
_INSTEAD = "SequentialLR and ChainedScheduler put together what such functions mostly say."
_SHOWN_CHARACTERS = 80

_describing = threading.Lock()
"""A job's schema takes a tenth of a second: when sixteen requests need it first, one makes it."""


def prepare(model: type[BaseModel]) -> None:
    """Do what the first problem of ``model`` would wait for."""
    _schema(model)


def problems_from(error: ValidationError, model: type[BaseModel], *, pointer: str = "") -> list[Problem]:
    """Return one problem for each thing that ``model`` refused; pointers lie below ``pointer``."""
    schema = _schema(model)
    return _once([_problem(detail, schema, pointer) for detail in error.errors(include_url=False)])


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint with the known names most like ``name``, or all of them when they are few."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(one) for one in near)}?"
    return f"Known: {', '.join(known[:40])}{', …' if len(known) > 40 else ''}."


def escape(part: object) -> str:
    """Return one part of a JSON Pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _once(problems: Sequence[Problem]) -> list[Problem]:
    """Say in one problem what a value may be that could have been of several types."""
    found: dict[tuple[str, object], Problem] = {}
    for one in problems:
        about_type = one.code in _WORDS
        first = found.setdefault((one.pointer, about_type or one.detail), one)
        if about_type and first is not one:
            detail = first.detail.replace(", not ", f" or {_WORDS[one.code]}, not ", 1)
            found[one.pointer, True] = Problem(first.code, detail, one.pointer, first.hint)
    return list(found.values())


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    with _describing:
        return _described(model)


@functools.cache
def _described(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _problem(error: ErrorDetails, schema: dict[str, Any], prefix: str) -> Problem:
    path, node = _locate(error["loc"], schema)
    at = prefix + "".join(f"/{escape(part)}" for part in path)
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "problem":
        return Problem(context["code"], context["detail"], at + context["pointer"], context["hint"])
    if kind in _OUT_OF_RANGE:
        limits = _limits(node)
        return Problem("out_of_range", f"{_shown(given)} is out of range: it must be {limits}.", at, f"Use {limits}.")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _type_problem(given, at, _tags(node))
    if kind in ("literal_error", "enum"):
        return _unknown_value(given, at, node)
    return _plain_problem(error, at, node, name=str(path[-1]) if path else "body")


def _plain_problem(error: ErrorDetails, at: str, node: Mapping[str, Any], *, name: str) -> Problem:
    kind = error["type"]
    if kind == "extra_forbidden":
        return Problem(kind, f"There is no field `{name}` here.", at, nearest(name, sorted(_members(node))))
    if kind == "missing":
        return Problem(kind, f"`{name}` is required.", at)
    code = "dict_type" if kind in _NOT_AN_OBJECT else kind
    if code in _WORDS:
        return Problem(code, f"This must be {_WORDS[code]}, not {_shown(error['input'])}.", at)
    return Problem(code, f"{error['msg']}.", at)


def _type_problem(given: object, at: str, tags: Sequence[str]) -> Problem:
    tag = given.get("type") if isinstance(given, Mapping) else None
    at += "/type"
    if tag is None:
        return Problem("missing", "`type` is required.", at, f"One of {', '.join(tags)}.")
    if not isinstance(tag, str):
        return Problem("string_type", f"This must be a string, not {_shown(tag)}.", at)
    if tag in _REFUSED_TYPES:
        return Problem("unsupported_type", f"{tag} is not offered: {_REFUSED_TYPES[tag]}.", at, _INSTEAD)
    return Problem("unknown_type", f"There is no type {_shown(tag)} here.", at, nearest(tag, tags))


def _unknown_value(given: object, at: str, node: Mapping[str, Any]) -> Problem:
    known = [str(value) for value in node.get("enum", [node.get("const")])]
    hint = nearest(given, known) if isinstance(given, str) else f"Known: {', '.join(known)}."
    return Problem("unknown_value", f"{_shown(given)} is none of the known values.", at, hint)


def _locate(location: Sequence[int | str], schema: dict[str, Any]) -> tuple[list[int | str], Mapping[str, Any]]:
    """Follow pydantic's location; return it without the tags of unions, and the schema there.

    For a member that the schema does not know the schema of the object is returned.
    """
    path: list[int | str] = []
    node: Mapping[str, Any] = _resolved(schema, schema)
    for part in location:
        if part in _tags(node):
            node = _resolved({"$ref": node["discriminator"]["mapping"][part]}, schema)
            continue
        if isinstance(part, str) and node.get("type") in _SCALARS:
            continue  # a scalar has no members: this is the name of one way through a union
        path.append(part)
        node = _resolved(_step(node, part), schema)
    return path, node


def _step(node: Mapping[str, Any], part: int | str) -> Mapping[str, Any]:
    if isinstance(part, int):
        found = node.get("items", {})
    else:
        found = node.get("properties", {}).get(part) or node.get("additionalProperties") or node
    return found if isinstance(found, Mapping) else node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references, and the one way through ``X or null``."""
    while True:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in node:
            node = next(choice for choice in node["anyOf"] if choice.get("type") != "null")
        else:
            return node


def _tags(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("discriminator", {}).get("mapping", {}))


def _members(node: Mapping[str, Any]) -> list[str]:
    return list(node.get("properties", {}))


def _limits(node: Mapping[str, Any]) -> str:
    limits = [text.format(_number(node[name])) for name, text in _BOUNDS.items() if name in node]
    return " and ".join(limits) or "a finite number"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
