"""What a request may say of transforms of images: names and arguments held against the closed list, without kornia."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from services.datasets.transforms import transform_classes
from services.errors import Problem
from services.training.json_values import check_value
from services.training.model import problem
from services.training.problems import escape, nearest

MAX_TRANSFORMS = 16


def check_transform(value: object) -> object:
    """Check one item of ``transforms``.

    Raises:
        PydanticCustomError: the first thing that is wrong with it.
    """
    found = _trouble(value)
    if found is not None:
        raise problem(found.code, found.detail, pointer=found.pointer, hint=found.hint)
    return value


def _trouble(value: object) -> Problem | None:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        hint = 'For example {"type": "RandomHorizontalFlip"}.'
        return Problem("missing", "A transform is an object with a `type`.", "/type", hint)
    listed = transform_classes().get(value["type"])
    if listed is None:
        detail = f'"{value["type"][:80]}" is none of the known transforms.'
        return Problem("unknown_value", detail, "/type", nearest(value["type"], list(transform_classes())))
    for member, given in value.items():
        if member == "type":
            continue
        if member not in listed.properties:
            hint = nearest(member, sorted(listed.properties))
            return Problem("extra_forbidden", f"{listed.name} has no argument `{member}`.", f"/{escape(member)}", hint)
        found = check_value(given, listed.properties[member], f"/{escape(member)}")
        if found is not None:
            return found
    absent = next((name for name in listed.required if name not in value), None)
    return None if absent is None else Problem("missing", f"`{absent}` is required.", f"/{absent}")


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"type": {"type": "string"}},
    "required": ["type"],
    "description": "A class of kornia.augmentation with its arguments (`GET /v1/catalog?kind=transform`).",
}
Transform = Annotated[dict[str, Any], AfterValidator(check_transform), WithJsonSchema(_SCHEMA)]
Transforms = Annotated[list[Transform], Field(max_length=MAX_TRANSFORMS)]
