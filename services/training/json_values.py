"""Holds a value against a small JSON Schema: what generated lists of arguments need, and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from services.errors import Problem

_WORDS = {
    "integer": ("int_type", "an integer"),
    "number": ("float_type", "a number"),
    "string": ("string_type", "a string"),
    "boolean": ("bool_type", "true or false"),
    "array": ("list_type", "an array"),
    "null": ("none_type", "null"),
}
_MAX_ITEMS = 10_000


def check_value(value: object, schema: Mapping[str, Any], pointer: str) -> Problem | None:
    """Return what is wrong with ``value``, or None. Known are type, enum, anyOf, items, and bounds."""
    if "anyOf" in schema:
        found = [check_value(value, choice, pointer) for choice in schema["anyOf"]]
        return None if None in found else _nearest(value, schema["anyOf"], found)
    if "enum" in schema:
        known = ", ".join(map(str, schema["enum"]))
        is_known = isinstance(value, str) and value in schema["enum"]
        return None if is_known else Problem("unknown_value", f"This must be one of {known}.", pointer, f"Use {known}.")
    code, words = _WORDS[schema["type"]]
    if not _is(value, schema["type"]):
        return Problem(code, f"This must be {words}.", pointer)
    return _check_bounds(value, schema, pointer)


def _nearest(value: object, choices: list[Mapping[str, Any]], found: list[Problem | None]) -> Problem | None:
    """Return the trouble with the choice that is of the value's own type, else with the first."""
    own = [one for choice, one in zip(choices, found, strict=True) if _is(value, choice.get("type", "string"))]
    return (own or found)[0]


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    types: dict[str, type | tuple[type, ...]] = {
        "integer": int, "number": (int, float), "string": str, "array": list, "null": type(None), "boolean": bool
    }  # fmt: skip
    return isinstance(value, types[kind])


def _check_bounds(value: Any, schema: Mapping[str, Any], pointer: str) -> Problem | None:  # noqa: ANN401 - any JSON
    if isinstance(value, list):
        least, most = schema.get("minItems", 0), schema.get("maxItems", _MAX_ITEMS)
        if not least <= len(value) <= most:
            return _out_of_range(f"{least} to {most} items", pointer)
        found = (check_value(item, schema["items"], f"{pointer}/{index}") for index, item in enumerate(value))
        return next((one for one in found if one is not None), None)
    if isinstance(value, str):
        least, most = schema.get("minLength", 0), schema.get("maxLength", 4000)
        return None if least <= len(value) <= most else _out_of_range(f"{least} to {most} characters", pointer)
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, most = schema.get("minimum", -1e12), schema.get("maximum", 1e12)
        if not (math.isfinite(value) and least <= value <= most):
            return _out_of_range(f"between {least:g} and {most:g}", pointer)
    return None


def _out_of_range(limits: str, pointer: str) -> Problem:
    return Problem("out_of_range", f"This is out of range: it must be {limits}.", pointer, f"Use {limits}.")
