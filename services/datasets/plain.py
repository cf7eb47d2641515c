"""Stored columns as a model sees them when nothing is asked of them; light, for the trainer reads it too."""

from __future__ import annotations

from typing import Any

from services.datasets.catalog import Column

Recipe = dict[str, Any]
"""``{"sources": [{"column", "kind", "dtype", "shape", "classes", "normalize", "missing", "encode"}], "dtype", "image",
"text", "side_by_side"}``; plain JSON, for the trainer and for checkpoints."""
CODED = ("category", "token")
"""Kinds whose values are codes of names."""


def plain_recipe(name: str, column: Column) -> Recipe:
    """Return the recipe of a stored column as it is: real numbers float32, whole numbers and classes int64."""
    whole = column.kind in CODED or (column.kind == "number" and "int" in column.dtype)
    source = source_recipe(
        name, column, normalize=None, missing="fail", encode="label" if column.kind in CODED else None
    )
    dtype = "int64" if whole else "float32"
    return {"sources": [source], "dtype": dtype, "image": None, "text": None, "side_by_side": False}


def plain_column(column: Column) -> Column:
    """Return what `plain_recipe` makes of a column."""
    whole = column.kind in CODED or (column.kind == "number" and "int" in column.dtype)
    return Column(
        "int64" if whole else "float32",
        column.shape,
        column.classes if whole else None,
        column.class_names if whole else (),
        column.description,
        column.kind,
    )


def source_recipe(
    name: str, column: Column, *, normalize: str | None, missing: str | float, encode: str | None
) -> dict[str, Any]:
    """Return how one stored column takes part in a recipe."""
    about = {"column": name, "kind": column.kind, "dtype": column.dtype, "shape": list(column.shape)}
    return about | {"classes": column.classes, "normalize": normalize, "missing": missing, "encode": encode}
