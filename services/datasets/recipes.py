"""How each column that a model may see is made of the stored ones, and what dtype and shape it then has."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from services.datasets.catalog import Column, DatasetInfo
from services.datasets.plain import CODED, Recipe, source_recipe
from services.datasets.preprocessing import Feature, Source
from services.datasets.transforms import sized
from services.errors import Problem
from services.training.problems import escape, nearest

BYTE_CODES = 257
MAX_SOURCES = 20_000
"""Columns of all features of a job together."""
_HINTS = 10


class FeatureMaker:
    """Makes a recipe of a feature; ``problems`` collects what cannot be made."""

    def __init__(self, info: DatasetInfo, target: str | None) -> None:
        self.problems: list[Problem] = []
        self._info = info
        self._target = target

    def make(self, name: str, feature: Feature) -> tuple[Recipe, Column] | None:
        """Return the recipe and what it makes; None when there are problems."""
        pointer = f"/data/features/{escape(name)}"
        before = len(self.problems)
        if name in self._info.columns:
            self._say("duplicate_name", f"The data set has a column named {name!r} already.", pointer)
        sources = [self._read(one, feature, f"{pointer}/columns/{n}") for n, one in enumerate(self._listed(feature))]
        found = [source for source in sources if source is not None]
        self._check(feature, found, pointer)
        image = self._image(feature, found[0], pointer) if feature.image and len(self.problems) == before else None
        if len(self.problems) > before or not found:
            return None
        recipe: Recipe = {
            "sources": found,
            "dtype": "int64" if feature.text else feature.dtype,
            "image": image,
            "text": self._tokens(feature, found[0]),
            "side_by_side": feature.text is None and not _keeps_shape(feature, found),
        }
        return recipe, _made(recipe)

    def _listed(self, feature: Feature) -> list[str | Source]:
        if feature.columns != "*":
            return list(feature.columns)
        usable = [name for name, column in self._info.columns.items() if column.kind in ("number", *CODED)]
        return [name for name in usable if name != self._target]

    def _read(self, one: str | Source, feature: Feature, pointer: str) -> Recipe | None:
        name = one if isinstance(one, str) else one.column
        column = self._info.columns.get(name)
        if column is None:
            # Looking for the nearest of thousands of names takes a while: not for thousands of wrong ones.
            hint = nearest(name, list(self._info.columns)) if len(self.problems) < _HINTS else None
            self._say("unknown_column", f"There is no column named {name[:80]!r}.", pointer, hint)
            return None
        own = one if isinstance(one, Source) else Source(column=name)
        coded = column.kind in CODED
        if coded and (own.normalize or own.missing in ("mean", "median") or isinstance(own.missing, float)):
            self._say("conflict", f"`{name}` is a category: it is encoded, not normalized or averaged.", pointer)
        if own.encode and not coded:
            self._say("conflict", f"`{name}` holds {column.kind}s, so there is nothing to encode.", pointer)
        encode = own.encode or feature.encode or ("label" if feature.dtype == "int64" else "one_hot")
        missing = feature.missing if own.missing is None else own.missing
        return source_recipe(
            name,
            column,
            normalize=None if coded else own.normalize or feature.normalize,
            missing=missing if not coded or missing in ("fail", "drop") else "fail",
            encode=encode if coded else None,
        )

    def _check(self, feature: Feature, sources: list[Recipe], pointer: str) -> None:
        kinds = {source["kind"] for source in sources}
        if feature.text and (len(sources) != 1 or kinds - {"text", "category"}):
            self._say("conflict", "`text` takes one column of texts.", f"{pointer}/text")
        by_character = feature.text and feature.text.unit == "character" and not feature.text.tokenizer
        if by_character and "text" in kinds and not sources[0]["classes"]:
            hint = 'Use {"unit": "byte"}, or a tokenizer.'
            self._say("too_many_classes", "The column has too many different characters.", f"{pointer}/text/unit", hint)
        if not feature.text and "text" in kinds:
            name = next(source["column"] for source in sources if source["kind"] == "text")
            hint = 'Give the feature "text": {"length": 128}, with this column alone.'
            self._say("conflict", f"`{name}` holds texts, which must be cut into tokens.", f"{pointer}/columns", hint)
        if feature.image and (len(sources) != 1 or len(sources[0]["shape"]) != 3):
            detail = "`image` takes one column of shape [channels, height, width]."
            self._say("conflict", detail, f"{pointer}/image")
        if feature.dtype == "int64" and any(source["normalize"] for source in sources):
            self._say("conflict", "Normalized numbers are not whole.", f"{pointer}/dtype", "Leave dtype out.")
        whole = all(source["kind"] in CODED or "int" in source["dtype"] for source in sources)
        if feature.dtype == "int64" and not feature.text and not whole:
            self._say("dtype_mismatch", "A column with fractions cannot be int64.", f"{pointer}/dtype")

    def _image(self, feature: Feature, source: Recipe, pointer: str) -> Recipe:
        """Return the transforms with every size written out, and the size in the end."""
        asked = feature.image.model_dump() if feature.image else {}
        channels, *stored = source["shape"]
        shape = [channels, *(asked["resize"] or stored)]
        transforms, size, problems = sized(asked["transforms"], shape, f"{pointer}/image/transforms")
        self.problems += problems
        if feature.normalize and any(one["type"] == "Normalize" for one in transforms):
            detail = "Normalized twice: by the transform, and by what the training rows say."
            self._say("conflict", detail, f"{pointer}/normalize", "Leave one of them out.")
        return {**asked, "transforms": transforms, "size": size}

    def _tokens(self, feature: Feature, source: Recipe) -> Recipe | None:
        if feature.text is None:
            return None
        names = self._info.columns[source["column"]].class_names
        vocabulary = (
            "".join(names) if source["kind"] == "text" else "".join(sorted({c for name in names for c in name}))
        )
        texts = list(names) if source["kind"] == "category" else None
        by_character = feature.text.unit == "character" and feature.text.tokenizer is None
        return {**feature.text.model_dump(), "vocabulary": vocabulary if by_character else None, "texts": texts}

    def _say(self, code: str, detail: str, pointer: str, hint: str | None = None) -> None:
        self.problems.append(Problem(code, detail, pointer, hint))


def _keeps_shape(feature: Feature, sources: list[Recipe]) -> bool:
    """One column of arrays stays what it is; so do the class numbers of one category, as a loss takes them."""
    return len(sources) == 1 and (bool(sources[0]["shape"]) or feature.dtype == "int64")


def _made(recipe: Recipe) -> Column:
    sources, first = recipe["sources"], recipe["sources"][0]
    if recipe["text"]:
        tokens = recipe["text"]
        by_byte = BYTE_CODES if tokens["tokenizer"] is None else tokens["tokenizer"]["vocabulary_size"]
        classes = by_byte if tokens["vocabulary"] is None else len(tokens["vocabulary"]) + 1
        return Column("int64", (tokens["length"],), classes, kind="token")
    if recipe["image"]:
        return Column("float32", (first["shape"][0], *recipe["image"]["size"]), kind="image")
    if not recipe["side_by_side"]:
        coded = first["kind"] in CODED and recipe["dtype"] == "int64"
        return Column(recipe["dtype"], tuple(first["shape"]), first["classes"] if coded else None, kind=first["kind"])
    width = sum(source_width(source) for source in sources)
    return Column(recipe["dtype"], (width,), description=f"{len(sources)} columns side by side")


def source_width(source: Mapping[str, Any]) -> int:
    """Return how many numbers a row of one source gives."""
    return int(prod(source["shape"])) * (int(source["classes"]) if source["encode"] == "one_hot" else 1)
