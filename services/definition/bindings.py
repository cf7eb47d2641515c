"""``inputs`` and ``outputs``: what a model takes and what it gives, by name."""

from __future__ import annotations

from dataclasses import dataclass

from services.definition.limits import MAX_DIMENSION
from services.definition.names import is_name
from services.definition.parsing import type_name
from services.definition.problems import Place, Problems, nearest_hint

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_MEMBERS = ("name", "column", "dtype", "shape", "optional")


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the model. Free sizes in ``shape`` are names, such as "B" for the batch."""

    name: str
    dtype: str = "float32"
    shape: tuple[int | str, ...] | None = None
    column: str | None = None
    """The data column; ``None`` stands for the input's own name."""
    optional: bool = False


def check_inputs(value: object, place: Place, problems: Problems) -> tuple[Input, ...]:
    """Check the array of inputs."""
    if not isinstance(value, list):
        problems.add("list_type", f"inputs is an array, not {type_name(value)}.", place)
        return ()
    found: list[Input] = []
    for index, item in enumerate(value):
        one = _input(item, place.child(index), problems)
        if one is not None and one.name in {other.name for other in found}:
            detail = f"The name {one.name!r} is used twice."
            problems.add("duplicate_name", detail, place.child(index, "name"), "Rename one of them.")
        if one is not None:
            found.append(one)
    return tuple(found)


def _input(item: object, place: Place, problems: Problems) -> Input | None:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, dict):
        problems.add("invalid_argument", f"An input is an object, not {type_name(item)}.", place)
        return None
    for name in item.keys() - set(_MEMBERS):
        hint = nearest_hint(str(name), _MEMBERS)
        problems.add("extra_forbidden", f"An input has no {str(name)[:80]!r}.", place.child(name), hint)
    if not is_name(item.get("name")):
        problems.add("invalid_argument", "An input needs a name.", place.child("name"))
        return None
    dtype = item.get("dtype", "float32")
    if dtype not in DTYPES:
        problems.unknown("invalid_argument", "dtype", str(dtype), DTYPES, place.child("dtype"))
    optional = item.get("optional", False)
    if not isinstance(optional, bool):
        problems.add("bool_type", "optional is true or false.", place.child("optional"))
    shape = _shape(item["shape"], place.child("shape"), problems) if "shape" in item else None
    column = item.get("column")
    if column is not None and not isinstance(column, str):
        problems.add("string_type", "column is the name of a data column.", place.child("column"))
    return Input(item["name"], str(dtype), shape, column, bool(optional))


def _shape(value: object, place: Place, problems: Problems) -> tuple[int | str, ...] | None:
    if not isinstance(value, list):
        problems.add("list_type", f"shape is an array, not {type_name(value)}.", place, 'For example ["B", 20].')
        return None
    sizes: list[int | str] = []
    for index, size in enumerate(value):
        if is_name(size):
            sizes.append(size)
        elif isinstance(size, bool) or not isinstance(size, int):
            detail = 'A size is an integer, or a name such as "B" for a free one.'
            problems.add("int_type", detail, place.child(index))
        elif size > MAX_DIMENSION:
            problems.add("dimension_too_large", f"A size is at most {MAX_DIMENSION}.", place.child(index))
        elif size < 1:
            problems.add("out_of_range", "A size is at least 1.", place.child(index))
        else:
            sizes.append(size)
    return tuple(sizes)


def check_outputs(value: object, place: Place, problems: Problems) -> tuple[str, ...]:
    """Check the names of what forward returns."""
    if not isinstance(value, list):
        problems.add("list_type", f"outputs is an array, not {type_name(value)}.", place)
        return ()
    names: list[str] = []
    for index, item in enumerate(value):
        name = item.get("name") if isinstance(item, dict) else item
        if not is_name(name):
            problems.add("invalid_argument", "An output is a name.", place.child(index))
        elif name in names:
            detail = f"The name {name!r} is used twice."
            problems.add("duplicate_name", detail, place.child(index), "Rename one of them.")
        else:
            names.append(str(name))
    return tuple(names)
