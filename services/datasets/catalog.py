"""The data sets that come with scikit-learn, described without importing it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from services.errors import InvalidRequest, Problem

_UCI_LICENCE = "CC BY 4.0"
_SKLEARN_LICENCE = "BSD-3-Clause (as distributed with scikit-learn)"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``shape`` is that of one row; ``classes`` counts the values of a label (0 … classes - 1)."""

    dtype: str
    shape: tuple[int, ...]
    classes: int | None = None
    class_names: tuple[str, ...] = ()
    description: str = ""
    kind: str = "number"
    """``number``, ``category`` (codes of ``class_names``, -1 is missing), ``token``, ``image`` or ``text``."""

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> Column:
        """Return the column that ``to_dict`` showed."""
        return cls(
            dtype=members["dtype"],
            shape=tuple(members["shape"]),
            classes=members.get("classes"),
            class_names=tuple(members.get("class_names", ())),
            description=members.get("description", ""),
            kind=members.get("kind", "number"),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        shown: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape), "kind": self.kind}
        shown["description"] = self.description
        if self.classes is not None:
            shown |= {"classes": self.classes, "class_names": list(self.class_names)}
        return shown


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """A data set: its columns, what a model sees and predicts by default, and where it is from."""

    name: str
    title: str
    rows: int
    columns: Mapping[str, Column]
    inputs: tuple[str, ...]
    target: str
    licence: str
    source: str
    part_rows: Mapping[str, int] | None = None
    """How many rows (or windows) a job trains, validates and tests on, where it has said so."""
    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What was counted in each column of an own one when its file was read."""

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> DatasetInfo:
        """Return what is stored of a tenant's own data set."""
        return cls(
            name=members["name"],
            title=members["title"],
            rows=members["rows"],
            columns={name: Column.from_dict(column) for name, column in members["columns"].items()},
            inputs=tuple(members["default_inputs"]),
            target=members["default_target"],
            licence="",
            source="",
            statistics=members.get("statistics", {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": self.rows,
            "columns": {name: column.to_dict() for name, column in self.columns.items()},
            "default_inputs": list(self.inputs),
            "default_target": self.target,
            "licence": self.licence,
            "source": self.source,
        }


def get_builtin(name: str, *, pointer: str = "/data/dataset") -> DatasetInfo:
    """Return the description of a built-in data set.

    Raises:
        InvalidRequest: ``unknown_dataset``, with the nearest names.
    """
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.4) or list(DATASETS)
    hint = f"Did you mean {' or '.join(repr(one) for one in near)}?" if len(near) <= 3 else f"Known: {', '.join(near)}."
    raise InvalidRequest([Problem("unknown_dataset", f"There is no data set named {name[:80]!r}.", pointer, hint)])


def _features(count: int, *, scaled: str = "as measured") -> Column:
    return Column("float32", (count,), description=f"{count} features, {scaled}")


def _standardized(count: int) -> Column:
    return _features(count, scaled="each with mean 0 and standard deviation 1 over all rows")


def _label(*names: str) -> Column:
    return Column("int64", (), len(names), names, "the class of the row")


_DIGITS = DatasetInfo(
    name="digits",
    title="Handwritten digits, 8 × 8 pixels",
    rows=1797,
    columns={
        "pixels": Column("float32", (64,), description="64 pixels, scaled to 0 … 1"),
        "image": Column("float32", (1, 8, 8), description="the same pixels as one channel of 8 × 8"),
        "label": _label(*"0123456789"),
    },
    inputs=("pixels",),
    target="label",
    licence=_UCI_LICENCE,
    source="UCI, Optical Recognition of Handwritten Digits (test part), doi:10.24432/C50P49",
)
_IRIS = DatasetInfo(
    name="iris",
    title="Iris flowers: sepal and petal sizes",
    rows=150,
    columns={
        "features": _features(4),
        "standardized": _standardized(4),
        "label": _label("setosa", "versicolor", "virginica"),
    },
    inputs=("features",),
    target="label",
    licence=_UCI_LICENCE,
    source="Fisher 1936; UCI, doi:10.24432/C56C76",
)
_WINE = DatasetInfo(
    name="wine",
    title="Wines of three cultivars: chemical analysis",
    rows=178,
    columns={
        "features": _features(13),
        "standardized": _standardized(13),
        "label": _label("class_0", "class_1", "class_2"),
    },
    inputs=("standardized",),
    target="label",
    licence=_UCI_LICENCE,
    source="UCI, Wine, doi:10.24432/C5PC7J",
)
_BREAST_CANCER = DatasetInfo(
    name="breast_cancer",
    title="Breast masses: cell nuclei measured in images",
    rows=569,
    columns={
        "features": _features(30),
        "standardized": _standardized(30),
        "label": _label("malignant", "benign"),
        "benign": Column("float32", (1,), description="1 where the mass is benign, for a binary loss"),
    },
    inputs=("standardized",),
    target="label",
    licence=_UCI_LICENCE,
    source="UCI, Breast Cancer Wisconsin (Diagnostic), doi:10.24432/C5DW2B",
)
_DIABETES = DatasetInfo(
    name="diabetes",
    title="Diabetes: disease progression after one year",
    rows=442,
    columns={
        "features": _features(10, scaled="each centred, and scaled to a sum of squares of 1"),
        "standardized": _standardized(10),
        "progression": Column("float32", (1,), description="25 … 346"),
    },
    inputs=("features",),
    target="progression",
    licence=_SKLEARN_LICENCE,
    source="Efron, Hastie, Johnstone and Tibshirani, Least Angle Regression, 2004",
)
_LINNERUD = DatasetInfo(
    name="linnerud",
    title="Linnerud: physical exercise and physiology of 20 men",
    rows=20,
    columns={
        "features": _features(3),
        "standardized": _standardized(3),
        "physiology": Column("float32", (3,), description="weight, waist, pulse, as measured"),
    },
    inputs=("standardized",),
    target="physiology",
    licence=_SKLEARN_LICENCE,
    source="Tenenhaus, La régression PLS, 1998",
)
_SAMPLE_IMAGES = DatasetInfo(
    name="sample_images",
    title="Two photographs: a temple in China, a flower",
    rows=2,
    columns={
        "image": Column("uint8", (3, 427, 640), description="red, green, blue; 427 × 640 pixels", kind="image"),
        "label": _label("china", "flower"),
    },
    inputs=("image",),
    target="label",
    licence="CC BY 2.0",
    source="flickr.com/photos/danielbuechele/6061409035 (china), flickr.com/photos/vultilion/6056698931 (flower)",
)
DATASETS: Mapping[str, DatasetInfo] = MappingProxyType(
    {info.name: info for info in (_DIGITS, _IRIS, _WINE, _BREAST_CANCER, _DIABETES, _LINNERUD, _SAMPLE_IMAGES)}
)
