"""Stored columns as a model sees them when nothing is asked of them; light, for the trainer reads it too."""

from __future__ import annotations

from collections.abc import Mapping
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


def place(data: Mapping[str, Any], name: str, index: int = 0) -> str:
    """Return where a job's resolved ``data`` says what column ``name`` is, for its stored column ``index``."""
    feature = (data.get("features") or {}).get(name)
    if feature is not None:
        escaped = name.replace("~", "~0").replace("/", "~1")
        return f"/data/features/{escaped}/columns" + ("" if feature["columns"] == "*" else f"/{index}")
    target = data.get("target")
    if target == name:
        return "/data/target"
    if isinstance(target, list) and name in target:
        return f"/data/target/{target.index(name)}"
    inputs = list(data["inputs"])
    return f"/data/inputs/{inputs.index(name)}" if name in inputs else "/data/dataset"


def source_recipe(
    name: str, column: Column, *, normalize: str | None, missing: str | float, encode: str | None
) -> dict[str, Any]:
    """Return how one stored column takes part in a recipe."""
    about = {"column": name, "kind": column.kind, "dtype": column.dtype, "shape": list(column.shape)}
    return about | {"classes": column.classes, "normalize": normalize, "missing": missing, "encode": encode}
