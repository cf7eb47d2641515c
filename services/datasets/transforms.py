"""The transforms of images that a feature may name: a closed list of kornia's, and the sizes that they give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from services.errors import Problem

_CROPS = ("RandomCrop", "CenterCrop")
_SIZED = (*_CROPS, "RandomResizedCrop", "Resize", "PadTo")
_BY_CHANNEL = ("Normalize", "Denormalize")


@dataclass(frozen=True, slots=True)
class TransformClass:
    """A class of kornia: whether all rows go through it, or training rows are varied by it, and what it takes."""

    name: str
    doc: str
    family: str
    fixed: bool
    properties: Mapping[str, Any]
    required: tuple[str, ...]

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the object that names it."""
        properties = {"type": {"const": self.name}, **self.properties}
        required = ["type", *self.required]
        return {"type": "object", "description": self.doc, "properties": properties, "required": required,
                "additionalProperties": False}  # fmt: skip


@cache
def transform_classes() -> dict[str, TransformClass]:
    """Return the closed list, by name; kornia is not imported."""
    listed = json.loads(Path(__file__).with_name("transforms.json").read_text(encoding="utf-8"))["classes"]
    return {
        name: TransformClass(
            name,
            entry["doc"],
            entry["family"],
            entry["fixed"],
            entry["schema"]["properties"],
            tuple(entry["schema"]["required"]),
        )
        for name, entry in listed.items()
    }


def sized(
    transforms: Sequence[Mapping[str, Any]], shape: Sequence[int], pointer: str
) -> tuple[list[dict[str, Any]], list[int], list[Problem]]:
    """Follow the size of an image through its transforms.

    Args:
        transforms: checked ones.
        shape: [channels, height, width] of the image.
        pointer: where the list is in the request.

    Returns:
        The transforms with every size written out; [height, width] in the end; and what does not fit.
    """
    channels, *size = shape
    found, problems = [], []
    for index, one in enumerate(transforms):
        made = dict(one)
        if one["type"] in _SIZED:
            made["size"] = list(one.get("size", size))
            if one["type"] in _CROPS:
                problems += _check_crop(made, size, f"{pointer}/{index}/size")
            size = made["size"]
        if one["type"] in _BY_CHANNEL:
            problems += _check_channels(one, channels, f"{pointer}/{index}")
        found.append(made)
    return found, size, problems


def _check_crop(one: Mapping[str, Any], size: Sequence[int], pointer: str) -> list[Problem]:
    if one["size"][0] <= size[0] and one["size"][1] <= size[1]:
        return []
    detail = f"{one['size']} is out of range: the images are {list(size)} there."
    return [Problem("out_of_range", detail, pointer, "Cut out less, or enlarge them by Resize or PadTo before.")]


def _check_channels(one: Mapping[str, Any], channels: int, pointer: str) -> list[Problem]:
    wrong = [name for name in ("mean", "std") if isinstance(one[name], list) and len(one[name]) != channels]
    return [
        Problem(
            "shape_mismatch", f"`{name}` has {len(one[name])} numbers for {channels} channels.", f"{pointer}/{name}"
        )
        for name in wrong
    ]
