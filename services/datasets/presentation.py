"""A data set as one job sees it: features beside the stored columns, windows over rows, and how long each part is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from numpy.typing import NDArray

from services.datasets.catalog import Column, DatasetInfo
from services.datasets.plain import CODED, Recipe, plain_column, plain_recipe
from services.datasets.preprocessing import Feature, Features, Split, Window
from services.datasets.recipes import MAX_SOURCES, FeatureMaker
from services.datasets.split import PART_NAMES, PARTS, is_missing, kept_rows, split_columns, split_rows, split_sizes
from services.errors import InvalidRequest, Problem
from services.training.problems import escape, nearest

READ_POINTER = "/data/split"
FEATURES, NEXT = "features", "next_"
ReadColumns = Callable[[Sequence[str]], Mapping[str, NDArray[Any]]]
"""Returns stored columns by name."""


class Data(Protocol):
    """What this module looks at of a job's ``data``."""

    @property
    def inputs(self) -> Sequence[str] | None:
        """Columns that the model is called with."""

    @property
    def target(self) -> str | list[str] | None:
        """The column, or the columns, that the loss compares with."""

    @property
    def split(self) -> Split:
        """Which rows go where."""

    @property
    def features(self) -> Features:
        """Columns made of others."""

    @property
    def window(self) -> Window | None:
        """Runs of rows."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """``info`` has the columns, defaults and rows that the job sees; ``target`` the name that its target has there."""

    info: DatasetInfo
    target: str | list[str] | None
    recipes: Mapping[str, Recipe]
    split: Mapping[str, Any]
    window: Mapping[str, Any] | None
    stored: DatasetInfo
    """The data set as it is."""

    def complete(self, sections: Mapping[str, Any]) -> dict[str, Any]:
        """Return a job's resolved sections with what the trainer needs to make the columns that they name."""
        data = sections["data"]
        recipes = {name: self.recipes[name] for name in data["columns"]}
        own = {"recipes": recipes, "split": {**data["split"], **self.split}, "window": self.window}
        return {**sections, "data": {**data, **own, "vocabularies": self._vocabularies(recipes)}}

    def _vocabularies(self, recipes: Mapping[str, Recipe]) -> dict[str, list[str]]:
        """Return the names of the classes of every stored column that is used: predictions are read and told in them.

        They are the job's own, for a data set may be deleted.
        """
        sources = [source["column"] for recipe in recipes.values() for source in recipe["sources"]]
        columns = {name: self.stored.columns[name] for name in [*sources, *split_columns(self.split)]}
        return {name: list(one.class_names) for name, one in columns.items() if one.class_names and one.kind != "text"}


def present(data: Data, info: DatasetInfo, read: ReadColumns) -> Presentation:
    """Return the data set as ``data`` asks for it; ``read`` is called where the sizes of the parts depend on values.

    Raises:
        InvalidRequest: with every problem of features, split and window.
    """
    targets = [data.target or info.target] if not isinstance(data.target, list) else data.target
    target = targets[0] if len(targets) == 1 else None
    columns = {name: plain_column(column) for name, column in info.columns.items() if column.kind != "text"}
    recipes = {name: plain_recipe(name, info.columns[name]) for name in columns}
    maker = FeatureMaker(info, target)
    features = _all_features(data, info)
    _check_count(features, info)
    for name, feature in features.items():
        made = maker.make(name, feature)
        if made is not None:
            recipes[name], columns[name] = made
    split, problems = _resolved_split(data, info, target)
    if maker.problems or problems:
        raise InvalidRequest([*maker.problems, *problems])
    inputs = _default_inputs(data, info, target, columns)
    split["dropping"] = dropping_columns(recipes)
    sizes = _sizes(info, split, read)
    shown = replace(info, columns=columns, inputs=inputs, part_rows=sizes)
    if data.window is not None and len(targets) > 1:
        detail = "A window looks ahead at one target."
        raise InvalidRequest([Problem("conflict", detail, "/data/target", "Name one column.")])
    whole = Presentation(shown, data.target, recipes, split, None, info)
    if data.window is None:
        return whole
    _check_unvaried(data)
    return _windowed(whole, data.window, target)


def _check_unvaried(data: Data) -> None:
    """A row lies in many windows, and would have to be varied alike, or not, in each."""
    for name, feature in data.features.items():
        image = feature.image
        if image is not None and (image.flip or image.crop or image.transforms):
            detail = "The images of a window are not varied or transformed, only resized."
            pointer = f"/data/features/{escape(name)}/image"
            raise InvalidRequest([Problem("conflict", detail, pointer, "Leave out the window, or the transforms.")])


def _all_features(data: Data, info: DatasetInfo) -> dict[str, Feature]:
    """Return the features asked for, and ``features``: the default inputs of a table, side by side."""
    features = dict(data.features)
    inputs = [info.columns[name] for name in info.inputs if name in info.columns]
    scalars = all(column.shape == () and column.kind in ("number", "category") for column in inputs)
    if len(inputs) > 1 and scalars and FEATURES not in features and FEATURES not in info.columns:
        targets = data.target if isinstance(data.target, list) else [data.target or info.target]
        features[FEATURES] = Feature(columns=[n for n in info.columns if n in info.inputs and n not in targets])
    return features


def _check_count(features: Mapping[str, Feature], info: DatasetInfo) -> None:
    count = sum(len(info.columns if one.columns == "*" else one.columns) for one in features.values())
    if count > MAX_SOURCES:
        detail = f"All features together are made of {count} columns: at most {MAX_SOURCES}."
        raise InvalidRequest([Problem("out_of_range", detail, "/data/features", "Name fewer of them.")])


def _default_inputs(
    data: Data, info: DatasetInfo, target: str | None, columns: Mapping[str, Column]
) -> tuple[str, ...]:
    asked = [name for name in data.features if name != target]
    if asked:
        return tuple(asked)
    if FEATURES in columns and FEATURES not in info.columns:
        return (FEATURES,)
    return info.inputs


def _resolved_split(data: Data, info: DatasetInfo, target: str | None) -> tuple[dict[str, Any], list[Problem]]:
    """Return what the rule of `services.datasets.split` needs beside the shares."""
    split, problems = data.split, []
    found: dict[str, Any] = {name: getattr(split, name) for name in ("by_group", "by_time", "column")}
    found["stratify"] = target if split.stratify is True else split.stratify or None
    found["sequential"] = data.window is not None and not split.by_time
    for name in ("stratify", "by_group", "by_time", "column"):
        if isinstance(found[name], str):
            problems += _check_split_column(name, found[name], info)
    if data.window is not None and (way := next((name for name in ("stratify", "by_group") if found[name]), None)):
        detail = "Windows need rows in their order, so the parts are runs of rows."
        problems.append(Problem("conflict", detail, f"/data/split/{way}", "Use by_time, or leave it out."))
    if split.column and not problems:
        codes, unknown = _part_codes(info.columns[split.column])
        found["codes"] = codes
        problems += unknown
    shares = {name: getattr(split, name) for name in PARTS} | {"seed": split.seed}
    if split.train is None:
        shares["train"] = 1.0 - split.validation - split.test
    return {**shares, **found}, problems


def _check_split_column(way: str, name: str, info: DatasetInfo) -> list[Problem]:
    pointer = f"/data/split/{way}"
    column = info.columns.get(name)
    if column is None:
        detail = f"There is no column named {name[:80]!r}."
        return [Problem("unknown_column", detail, pointer, nearest(name, list(info.columns)))]
    if column.shape != () or column.kind == "text":
        return [Problem("conflict", f"`{name}` has no single number or class a row.", pointer)]
    if way == "stratify" and column.kind not in CODED and "int" not in column.dtype:
        return [Problem("conflict", f"`{name}` holds real numbers, not classes.", pointer, "Name a category.")]
    if way == "column" and column.kind != "category":
        return [Problem("conflict", f"`{name}` does not hold the words train, validation and test.", pointer)]
    return []


def _part_codes(column: Column) -> tuple[dict[str, list[int]], list[Problem]]:
    codes: dict[str, list[int]] = {part: [] for part in PARTS}
    for code, name in enumerate(column.class_names):
        part = next((part for part, words in PART_NAMES.items() if name.lower() in words), None)
        if part is None:
            detail = f"The column says {name[:80]!r} for some rows."
            hint = f"Known: {', '.join(word for words in PART_NAMES.values() for word in words)}."
            return codes, [Problem("unknown_value", detail, "/data/split/column", hint)]
        codes[part].append(code)
    return codes, []


def _sizes(info: DatasetInfo, split: Mapping[str, Any], read: ReadColumns) -> dict[str, int]:
    dropping = split["dropping"]
    if not dropping and not (split["by_group"] or split["column"]):
        looked_at = split_columns(split)
        if looked_at and info.name.startswith("ds_"):  # built-in ones miss nothing
            _refuse_missing(looked_at[0], read)
        return split_sizes(info.rows, split)
    columns = read([*dict.fromkeys([*dropping, *split_columns(split)])])
    kept = kept_rows(info.rows, {name: columns[name] for name in dropping})
    for name in split_columns(split):
        _check_complete(name, columns[name][kept])
    parts = split_rows(len(kept), split, lambda name: columns[name][kept])
    return {part: len(rows) for part, rows in parts.items()}


def dropping_columns(recipes: Mapping[str, Recipe]) -> list[str]:
    """Return the columns whose missing values leave a row out."""
    sources = [source for recipe in recipes.values() for source in recipe["sources"]]
    return [*dict.fromkeys(source["column"] for source in sources if source["missing"] == "drop")]


def _refuse_missing(name: str, read: ReadColumns) -> None:
    _check_complete(name, read([name])[name])


def _check_complete(name: str, values: NDArray[Any]) -> None:
    missing = is_missing(values)
    if missing.any():
        detail = f"Column `{name}`, by which the rows are split, has no value in row {int(missing.argmax())}."
        raise InvalidRequest([Problem("missing_value", detail, READ_POINTER, "Mend it, or split by another column.")])


def _windowed(whole: Presentation, window: Window, target: str | None) -> Presentation:
    """Give every column a dimension of ``length``, and the target, as ``next_<name>``, its place ahead."""
    info = whole.info
    columns = {name: replace(one, shape=(window.length, *one.shape)) for name, one in info.columns.items()}
    made, renamed = dict(whole.recipes), None
    if target is not None and target in info.columns:
        renamed = f"{NEXT}{target}"
        one = info.columns[target]
        columns[renamed] = columns[target] if window.target == "sequence" else one
        made[renamed] = whole.recipes[target]
    need = window.length + window.shift
    sizes = {part: max(0, (rows - need) // window.stride + 1) for part, rows in (info.part_rows or {}).items()}
    shown = replace(info, columns=columns, target=renamed or info.target, part_rows=sizes)
    return replace(whole, info=shown, target=renamed, recipes=made, window={**window.model_dump(), "ahead": renamed})
