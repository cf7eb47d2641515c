"""Checks the inputs of a request against the definition: names, shapes, dtypes, every number; all problems at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.definition import Definition, Input
from services.definition.bindings import DTYPES
from services.definition.problems import nearest_hint
from services.definition.program import Module
from services.errors import InvalidRequest, Problem
from services.training.problems import escape

MAX_ELEMENTS = 1 << 22
"""Elements of one drawn input."""
MAX_RANK = 16
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_RANDOM = {"randn": (), "rand": (), "randint": ("low", "high")}
_BOUNDS = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-(1 << 15), (1 << 15) - 1),
           "int32": (-(1 << 31), (1 << 31) - 1), "int64": (-(1 << 63), (1 << 63) - 1)}  # fmt: skip

Checked = dict[str, dict[str, Any] | None]


def check_inputs(definition: Definition, inputs: Mapping[str, Any], *, pointer: str = "/inputs") -> Checked:
    """Return the inputs in calling order: ``{"value", "shape", "dtype"}`` or a draw, None for one left out.

    Numbers are returned in one flat list, in row-major order. A dtype of None stands for the run's.

    Raises:
        InvalidRequest: with every problem, each at its place.
    """
    reader = _Reader(definition, pointer)
    return reader.read(inputs)


class _Reader:
    """Reads one object of inputs; free sizes of the same name must agree."""

    def __init__(self, definition: Definition, pointer: str) -> None:
        self.problems: list[Problem] = []
        self._declared = {one.name: one for one in definition.inputs}
        self._names = list(self._declared) or list(definition.arguments)
        self._needed = _needed(definition, self._names)
        self._pointer = pointer
        self._sizes: dict[str, tuple[int, str]] = {}

    def read(self, inputs: Mapping[str, Any]) -> Checked:
        for name in inputs:
            if name not in self._names:
                hint = nearest_hint(name, self._names) or f"It takes {', '.join(self._names)}."
                self._add("unknown_input", f"The model has no input {name[:80]!r}.", [name], hint)
        checked: Checked = {}
        for name in self._names:
            if inputs.get(name) is None:
                checked[name] = None
                if name in self._needed:
                    given = "is null" if name in inputs else "is missing"
                    self._add("missing", f"Input {name!r} {given}.", [name] if name in inputs else [], None)
            else:
                checked[name] = self._one(name, inputs[name])
        if self.problems:
            raise InvalidRequest(self.problems)
        return checked

    def _one(self, name: str, given: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        declared = self._declared.get(name)
        if isinstance(given, dict):
            found = self._object(name, given, declared)
        else:
            found = self._value([name], given, declared.dtype if declared else None)
        if declared is not None and declared.shape is not None and "shape" in found:
            self._fit(name, declared, found["shape"])
        return found

    def _object(self, name: str, given: dict[str, Any], declared: Input | None) -> dict[str, Any]:
        kind = "random" if "random" in given else "value"
        allowed = ("random", "shape", "seed", "dtype", "low", "high") if kind == "random" else ("value", "dtype")
        for member in given.keys() - set(allowed):
            hint = nearest_hint(member, allowed) or f"Known: {', '.join(allowed)}."
            self._add("extra_forbidden", f"An input with {kind!r} has no {member[:80]!r}.", [name, member], hint)
        dtype = given.get("dtype", declared.dtype if declared else None)
        if dtype is not None and dtype not in DTYPES:
            hint = nearest_hint(str(dtype), DTYPES) or f"One of {', '.join(DTYPES)}."
            self._add("invalid_argument", f"There is no dtype {str(dtype)[:80]!r}.", [name, "dtype"], hint)
            dtype = None
        if declared is not None and dtype is not None and not _alike(dtype, declared.dtype):
            detail = f"Input {name!r} is declared {declared.dtype}, not {dtype}."
            self._add("dtype_mismatch", detail, [name, "dtype"], f'Write "dtype": "{declared.dtype}".')
        if kind == "random":
            return self._random(name, given, dtype)
        if "value" not in given:
            hint = 'Write {"value": [[1.0, 2.0]]} or {"random": "randn", "shape": [2, 3], "seed": 0}.'
            self._add("missing", "An input object has a value, or says how it is drawn.", [name], hint)
            return {}
        return self._value([name, "value"], given["value"], dtype)

    def _random(self, name: str, given: dict[str, Any], dtype: str | None) -> dict[str, Any]:
        before = len(self.problems)
        kind = given["random"]
        if kind not in _RANDOM:
            hint = nearest_hint(str(kind), _RANDOM) or f"One of {', '.join(_RANDOM)}."
            self._add("unknown_value", f"There is no draw {str(kind)[:80]!r}.", [name, "random"], hint)
            return {}
        shape = self._drawn_shape(name, given.get("shape"))
        numbers: dict[str, Any] = {member: given[member] for member in ("seed", "low", "high") if member in given}
        for member, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
                self._add("int_type", f"{member} is an integer.", [name, member], None)
            elif member not in (*_RANDOM[kind], "seed"):
                self._add("extra_forbidden", f"{kind} takes no {member}.", [name, member], None)
            elif member == "seed" and value < 0:
                self._add("out_of_range", "A seed is at least 0.", [name, member], None)
        if kind == "randint":
            self._range(name, numbers)
            dtype = dtype or "int64"
        elif dtype is not None and not dtype.startswith(("float", "bfloat")):
            self._add(
                "dtype_mismatch", f"{kind} draws no {dtype}.", [name, "random"], 'Use "randint" with low and high.'
            )
        return {} if len(self.problems) > before else {"random": kind, "shape": shape, "dtype": dtype, **numbers}

    def _range(self, name: str, numbers: Mapping[str, Any]) -> None:
        if "high" not in numbers:
            self._add("missing", "randint needs high; it draws below it.", [name], 'Add "high": 10.')
        elif all(isinstance(value, int) for value in numbers.values()) and numbers["high"] <= numbers.get("low", 0):
            self._add("out_of_range", "high must be greater than low.", [name, "high"], None)

    def _drawn_shape(self, name: str, shape: object) -> list[int]:
        good = isinstance(shape, list) and len(shape) <= MAX_RANK and all(
            isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape
        )  # fmt: skip
        if not good or not isinstance(shape, list):
            self._add("list_type", "shape is an array of sizes.", [name, "shape"], 'For example "shape": [2, 3].')
            return []
        if math.prod(shape) > MAX_ELEMENTS:
            detail = f"A drawn input has at most {MAX_ELEMENTS:,} elements."
            self._add("out_of_range", detail, [name, "shape"], "Make it smaller.")
            return []
        return shape

    def _value(self, path: list[str | int], given: Any, dtype: str | None) -> dict[str, Any]:  # noqa: ANN401
        before = len(self.problems)
        shape = _shape_of(given)
        flat: list[Any] = []
        self._flatten(path, given, shape, dtype, flat)
        return {} if len(self.problems) > before else {"value": flat, "shape": shape, "dtype": dtype}

    def _flatten(self, path: list[str | int], given: Any, shape: list[int], dtype: str | None, flat: list[Any]) -> None:  # noqa: ANN401
        """Collect the numbers below ``given``, whose shape must be ``shape``; the first ragged list is told."""
        if not shape:
            if isinstance(given, list):
                self._add("ragged_list", "Here is a list where others have a number.", path, None)
            elif problem := _number_problem(given, dtype):
                self._add(*problem[:2], path, problem[2])
            else:
                flat.append(given)
            return
        if not isinstance(given, list):
            self._add("ragged_list", "Here is a number where others have a list.", path, None)
            return
        if len(given) != shape[0]:
            detail = f"This list has {len(given)} items, the first one at this depth has {shape[0]}."
            self._add("ragged_list", detail, path, "All lists at one depth are equally long.")
            return
        for index, item in enumerate(given):
            count = len(self.problems)
            self._flatten([*path, index], item, shape[1:], dtype, flat)
            if len(self.problems) > count:
                return

    def _fit(self, name: str, declared: Input, shape: Sequence[int]) -> None:
        wanted = declared.shape or ()
        if len(wanted) != len(shape):
            detail = f"Input {name!r} is declared {list(wanted)}: {len(wanted)} dimensions; this has {list(shape)}."
            self._add("shape_mismatch", detail, [name], None)
            return
        for axis, (size, have) in enumerate(zip(wanted, shape, strict=True)):
            if isinstance(size, int) and size != have:
                detail = f"Input {name!r} is declared {list(wanted)}; this has {list(shape)}: size {axis} is {have}."
                self._add("shape_mismatch", detail, [name], f"Make it {size}.")
            elif isinstance(size, str):
                known, other = self._sizes.setdefault(size, (have, name))
                if known != have:
                    detail = f"{size!r} is {known} in {other!r} and {have} here."
                    self._add("shape_mismatch", detail, [name], "A free size is the same wherever it stands.")

    def _add(self, code: str, detail: str, path: Sequence[str | int], hint: str | None) -> None:
        where = "".join(f"/{escape(part)}" for part in path)
        self.problems.append(Problem(code, detail, self._pointer + where, hint))


def _needed(definition: Definition, names: Sequence[str]) -> set[str]:
    """Return the names that cannot be left out."""
    if definition.inputs:
        return {one.name for one in definition.inputs if not one.optional}
    owner = definition.program.definitions.get(definition.tree.type)
    if isinstance(owner, Module):
        return {argument.name for argument in owner.forward.arguments if argument.default is None}
    return set(names)


def _shape_of(given: object) -> list[int]:
    """Return the shape that the first items promise."""
    shape: list[int] = []
    while isinstance(given, list):
        shape.append(len(given))
        if not given:
            break
        given = given[0]
    return shape


def _number_problem(given: object, dtype: str | None) -> tuple[str, str, str | None] | None:
    """Return code, detail and hint of what is wrong with one number, or None."""
    if dtype == "bool":
        return None if isinstance(given, bool) else ("bool_type", "This input is of booleans.", None)
    if isinstance(given, str) and given in _SPECIAL:
        return None if dtype not in _BOUNDS else ("int_type", f"{given} is no {dtype}.", None)
    if isinstance(given, bool) or not isinstance(given, int | float):
        return "float_type", "This must be a number.", 'NaN and infinities are "NaN", "Infinity", "-Infinity".'
    if dtype not in _BOUNDS:
        return None
    low, high = _BOUNDS[dtype]
    if given != int(given):
        return "int_type", f"{given} is no {dtype}.", None
    return None if low <= given <= high else ("out_of_range", f"{given} does not fit {dtype}.", f"{low} to {high}.")


def _alike(left: str, right: str) -> bool:
    floats = ("float32", "float64")
    return left == right or (left in floats and right in floats)
