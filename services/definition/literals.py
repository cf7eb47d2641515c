"""JSON values in literal positions: arguments of the object form, and defaults."""

from __future__ import annotations

import ast
import math

from services.definition.limits import MAX_INTEGER, MAX_ITEMS, MAX_STRING_CHARACTERS
from services.definition.parsing import type_name
from services.definition.problems import Place, Problems, mark

_CODES = {
    "int": ("int_type", "an integer"),
    "number": ("float_type", "a number"),
    "bool": ("bool_type", "true or false"),
    "str": ("string_type", "a string"),
    "ints": ("int_type", "an integer or an array of integers"),
}


def literal(value: object, place: Place, problems: Problems) -> ast.expr:
    """Return the tree of a JSON value; arrays become tuples, as torch writes sizes."""
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            problems.add("model_too_large", f"An array may have {MAX_ITEMS} items here.", place)
        items = [literal(item, place.child(index), problems) for index, item in enumerate(value)]
        return mark(ast.Tuple(items, ast.Load()), place)
    if isinstance(value, dict):
        keys: list[ast.expr | None] = [literal(str(key), place, problems) for key in value]
        return mark(ast.Dict(keys, [literal(v, place.child(k), problems) for k, v in value.items()]), place)
    if value is None or isinstance(value, bool | int | float | str):
        _check_scalar(value, place, problems)
        return mark(_number(value), place)
    problems.add("invalid_argument", "Only JSON values are allowed here.", place)
    return ast.Constant(None)


def _number(value: object) -> ast.expr:
    """Write negative numbers as Python parses them, so that source and tree agree."""
    if isinstance(value, int | float) and not isinstance(value, bool) and (value < 0 or str(value) == "-0.0"):
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)  # type: ignore[arg-type]


def _check_scalar(value: object, place: Place, problems: Problems) -> None:
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        problems.add("out_of_range", "Integers are limited to 2^63.", place)
    elif isinstance(value, float) and not math.isfinite(value):
        problems.add("out_of_range", "Numbers must be finite.", place)
    elif isinstance(value, str) and (len(value) > MAX_STRING_CHARACTERS or "%" in value or "{" in value):
        problems.add("invalid_argument", "This string is too long, or holds % or braces.", place)


def check_type(kind: str, value: object, name: str, place: Place, problems: Problems, *, optional: bool) -> None:
    """Check a JSON value against the type that the catalog gives an argument."""
    if kind not in _CODES or (value is None and optional) or _fits(kind, value):
        return
    code, wanted = _CODES[kind]
    fix = 'Write the layer as a string, "Linear(channels, 10)", to use names.' if isinstance(value, str) else None
    problems.add(code, f"{name} must be {wanted}, not {type_name(value)}.", place, fix)


def _fits(kind: str, value: object) -> bool:
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "str":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if kind == "ints":
        # Padding also takes "same" and "valid"; adaptive pools take null for "as it comes".
        if isinstance(value, list):
            return all(item is None or (isinstance(item, int) and not isinstance(item, bool)) for item in value)
        return isinstance(value, int) or (isinstance(value, str) and value in {"same", "valid"})
    return isinstance(value, int) if kind == "int" else isinstance(value, int | float)
