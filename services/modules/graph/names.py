"""What operations are called: the words of the definition, not the slots of Python's data model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import resolve_name

_WORDS = {
    "__rsub__": "sub", "__rdiv__": "div", "__rtruediv__": "div", "__truediv__": "div", "__rpow__": "pow",
    "__pow__": "pow", "__rmul__": "mul", "__radd__": "add", "__rmatmul__": "matmul", "__getitem__": "index",
    "__setitem__": "set_index", "__iadd__": "add_", "__imul__": "mul_", "__isub__": "sub_", "__itruediv__": "div_",
    "__idiv__": "div_", "__ipow__": "pow_", "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide",
    "__mod__": "remainder", "__rmod__": "remainder", "__and__": "bitwise_and", "__rand__": "bitwise_and",
    "__or__": "bitwise_or", "__ror__": "bitwise_or", "__xor__": "bitwise_xor", "__invert__": "bitwise_not",
    "true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub",
}  # fmt: skip
_REVERSED = {"__rsub__", "__rdiv__", "__rtruediv__", "__rpow__", "__rfloordiv__", "__rmod__", "__rmatmul__"}
_OPERANDS = {
    "add", "sub", "mul", "div", "pow", "remainder", "floor_divide", "add_", "sub_", "mul_", "div_", "pow_", "gt",
    "ge", "lt", "le", "eq", "ne", "where", "masked_fill", "masked_fill_", "maximum", "minimum", "fill_", "set_index",
}  # fmt: skip
"""Operations whose Python numbers are data, not settings."""


def short_name(function: Callable[..., Any]) -> str:
    """Return the name that people know: ``a + b`` is "add", ``x.T`` is "T", ``x[0]`` is "index"."""
    name = str(getattr(function, "__name__", "operation"))
    if name == "__get__":
        return str(getattr(function.__self__, "__name__", name))  # type: ignore[attr-defined]
    return _WORDS.get(name) or (name[2:-2] if name.startswith("__") and name.endswith("__") else name)


def full_name(function: Callable[..., Any]) -> str | None:
    """Return where torch keeps the function, for example "torch.nn.functional.linear"."""
    found = resolve_name(function)
    if not found:
        return None
    path = str(found).removesuffix(".__get__")
    name = str(getattr(function, "__name__", ""))
    # Several names may share one function: torch.mm is also torch.spmm.
    return path if name == "__get__" else f"{path.rpartition('.')[0]}.{name}"


def is_reversed(function: Callable[..., Any]) -> bool:
    """Whether the function takes its right operand first, as ``1 - x`` does."""
    return getattr(function, "__name__", "") in _REVERSED


def numbers_are_data(name: str) -> bool:
    """Whether a Python number among the arguments is an operand."""
    return name in _OPERANDS


def writes_first(name: str) -> bool:
    """Whether the function writes to its first argument."""
    return name == "set_index" or (name.endswith("_") and not name.endswith("__"))


def may_make_data(function: Callable[..., Any]) -> bool:
    """Whether a call may give or change a tensor; the others only look at one."""
    name = getattr(function, "__name__", "")
    if name == "__get__":
        return getattr(function.__self__, "__name__", "") in _VIEWS  # type: ignore[attr-defined]
    return name not in _LOOKS


_LOOKS = {
    "__bool__", "__len__", "__float__", "__int__", "__index__", "__contains__", "__hash__", "__repr__", "__format__",
    "__set__", "dim", "ndimension", "size", "numel", "nelement", "stride", "item", "tolist", "is_contiguous",
    "element_size", "is_floating_point", "is_complex", "is_same_size", "storage_offset", "data_ptr", "equal",
    "allclose", "get_device", "is_tensor", "_set_grad_enabled", "requires_grad_", "retain_grad",
}  # fmt: skip
_VIEWS = {"T", "mT", "H", "mH", "real", "imag"}
