"""Python's operators and builtins on plain values, with sizes and magnitudes checked before anything is computed."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

from services.definition.limits import MAX_INTEGER, MAX_ITEMS, MAX_STRING_CHARACTERS
from services.definition.tree import TENSOR, UNKNOWN, Node, Opaque

_OPERATIONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.MatMult: operator.matmul,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
    ast.USub: lambda a, _: -a, ast.UAdd: lambda a, _: +a, ast.Invert: lambda a, _: ~a, ast.Not: lambda a, _: not a,
}  # fmt: skip


class TooLarge(Exception):
    """The result would exceed a limit; the text says which."""


class Unusable(Exception):
    """The operation does not exist for these values."""


def is_opaque(*values: object) -> bool:
    """Return whether any value is known to a run only."""
    return any(isinstance(value, Opaque) for value in values)


def apply(operation: ast.AST, left: object, right: object = None) -> object:
    """Return the result of an operator.

    Raises:
        TooLarge: before computing, where the result would not be small.
        Unusable: where Python would raise.
    """
    if isinstance(operation, ast.Is | ast.IsNot) and not is_opaque(left):
        return (left is right) == isinstance(operation, ast.Is)
    if is_opaque(left, right):
        return TENSOR if TENSOR in (left, right) and not isinstance(operation, ast.Is | ast.IsNot) else UNKNOWN
    if isinstance(left, Node) or isinstance(right, Node):
        raise Unusable("modules do not compute; call them")
    _check_operands(operation, left, right)
    try:
        return checked(_OPERATIONS[type(operation)](left, right))
    except (ArithmeticError, TypeError, ValueError, KeyError) as error:
        raise Unusable(str(error)) from None


def _power_exceeds(base: int, exponent: int) -> bool:
    return exponent > 0 and abs(base) > 1 and exponent * math.log2(abs(base)) > 63


def _check_operands(operation: ast.AST, left: Any, right: Any) -> None:  # noqa: ANN401 - any plain value
    integers = isinstance(left, int) and isinstance(right, int)
    if isinstance(operation, ast.Pow) and integers and _power_exceeds(left, right):
        raise TooLarge("this power exceeds 2^63")
    if isinstance(operation, ast.Mult):
        for items, count in ((left, right), (right, left)):
            if isinstance(items, str | list | tuple) and isinstance(count, int):
                _check_length(len(items) * count, items)
    if (
        isinstance(operation, ast.Add)
        and isinstance(left, str | list | tuple)
        and isinstance(right, str | list | tuple)
    ):
        _check_length(len(left) + len(right), left)
    if isinstance(operation, ast.Mod) and isinstance(left, str):
        raise Unusable("strings have no %")


def _check_length(length: int, items: object) -> None:
    limit = MAX_STRING_CHARACTERS if isinstance(items, str) else MAX_ITEMS
    if length > limit:
        raise TooLarge(f"this makes {length} items; at most {limit} are allowed")


def checked(value: object) -> object:
    """Return ``value`` if it is within the limits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        raise TooLarge("this integer exceeds 2^63")
    if isinstance(value, str | list | tuple | range | dict):
        _check_length(len(value), value)
    return value


def call_builtin(name: str, arguments: list[Any], keywords: dict[str, Any]) -> object:
    """Return the result of a builtin function.

    Raises:
        TooLarge: before computing, where the result would not be small.
        Unusable: where Python would raise.
    """
    if name == "len" and isinstance(arguments[0] if arguments else None, Node):
        return len(arguments[0])
    if name == "range" and not is_opaque(*arguments):
        return _range(arguments)
    if is_opaque(*arguments, *keywords.values()):
        return UNKNOWN
    plain = [value.items() if isinstance(value, Node) else value for value in arguments]
    if any(_holds_opaque(value) for value in plain) and name in {"sum", "min", "max", "sorted", "any", "all"}:
        return UNKNOWN
    try:
        return checked(_BUILTINS[name](*plain, **keywords))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise Unusable(f"{name}: {error}") from None


def _range(arguments: list[Any]) -> object:
    try:
        items = range(*arguments)
        length = len(items)
    except (TypeError, ValueError, OverflowError) as error:
        raise (
            TooLarge("this range is too long") if isinstance(error, OverflowError) else Unusable(str(error))
        ) from None
    if length > MAX_ITEMS:
        raise TooLarge(f"this range has {length} turns; at most {MAX_ITEMS} are allowed")
    return items


def _holds_opaque(value: object) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, Opaque) for item in value)


def _listed(function: Callable[..., Iterable[object]]) -> Callable[..., object]:
    return lambda *arguments, **keywords: list(function(*arguments, **keywords))


_BUILTINS: dict[str, Callable[..., object]] = {
    "len": len, "enumerate": _listed(enumerate), "zip": _listed(zip), "int": int, "float": float, "bool": bool,
    "str": str, "sum": sum, "min": min, "max": max, "abs": abs, "round": round, "list": list, "tuple": tuple,
    "dict": dict, "OrderedDict": dict, "reversed": _listed(reversed), "any": any, "all": all, "sorted": sorted,
}  # fmt: skip


def call_math(name: str, arguments: list[Any]) -> object:
    """Return the result of a function of ``math``; the same exceptions as ``call_builtin``."""
    if is_opaque(*arguments) or any(_holds_opaque(value) for value in arguments):
        return UNKNOWN
    if name in {"ldexp", "gamma", "lcm", "prod", "pow", "exp", "isqrt"} and _is_huge(arguments):
        raise TooLarge("this number is too large")
    try:
        if name in {"prod", "lcm"}:
            return _product(name, list(arguments[0]) if name == "prod" else arguments)
        return checked(getattr(math, name)(*arguments))
    except (ArithmeticError, TypeError, ValueError) as error:
        raise Unusable(f"math.{name}: {error}") from None


def _product(name: str, numbers: list[Any]) -> object:
    """Multiply one by one: the product of many numbers takes long before it is too large."""
    result: Any = 1
    for number in numbers:
        if isinstance(number, str | list | tuple):  # times a number it would be as long as the number says
            raise TypeError(f"unsupported type: {type(number).__name__}")
        result = checked(result * number if name == "prod" else math.lcm(result, number))
    return result


def _is_huge(arguments: list[Any]) -> bool:
    return any(isinstance(value, int) and abs(value) > MAX_INTEGER for value in arguments)
