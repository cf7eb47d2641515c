"""One list of everything that a request may name, from layers to data sets."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from services.datasets.catalog import DATASETS
from services.datasets.transforms import transform_classes
from services.definition.catalog import CATALOG, Entry
from services.definition.json_schema import model_schema
from services.errors import NotFound
from services.training.losses import LOSSES
from services.training.metrics import METRICS, metric_classes
from services.training.optimizers import Optimizer
from services.training.schedulers import Scheduler

KINDS = (
    "layer",
    "loss",
    "function",
    "initialiser",
    "method",
    "optimizer",
    "scheduler",
    "metric",
    "transform",
    "dataset",
)
_INITIALISERS = "init"
_OWN_DOCS = {
    "clamp_max": "Clamps all elements to at most max",
    "clamp_min": "Clamps all elements to at least min",
    "feature_dropout": "Randomly zeroes whole channels of the input",
    "index_reduce": "Reduces the elements of a source into the tensor along a dimension, at the given indices",
    "rsub": "Subtracts the input, multiplied by alpha, from other",
    "split_with_sizes": "Splits the tensor into chunks of the given sizes along a dimension",
}
"""Of what torch itself does not document."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a request may name; ``schema`` describes its arguments as a JSON Schema."""

    name: str
    kind: str
    family: str
    doc: str
    schema: dict[str, Any]

    def brief(self) -> dict[str, Any]:
        """Return the form that lists show."""
        return {
            "object": "catalog_entry",
            "name": self.name,
            "kind": self.kind,
            "family": self.family,
            "doc": self.doc,
            "links": {"self": f"/v1/catalog/{self.name}"},
        }

    def full(self) -> dict[str, Any]:
        """Return everything."""
        return {**self.brief(), "schema": self.schema}


def list_catalog(*, kind: str | None = None, search: str | None = None) -> list[dict[str, Any]]:
    """Return the entries of a kind (all without one) whose name or doc holds ``search``, whatever its case."""
    words = (search or "").lower()
    return [
        item.brief()
        for item in _items().values()
        if (kind is None or item.kind == kind) and (words in item.name.lower() or words in item.doc.lower())
    ]


def get_entry(name: str) -> dict[str, Any]:
    """Return one entry with its schema.

    Raises:
        NotFound: nothing is called that; the hint has the nearest names.
    """
    items = _items()
    if name not in items:
        near = difflib.get_close_matches(name, items, n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}?" if near else "GET /v1/catalog lists all names."
        raise NotFound("The catalog has no such entry.", hint=hint)
    return items[name].full()


@cache
def schema_text() -> str:
    """Return the JSON Schema of model documents, as text."""
    return json.dumps(model_schema(), indent=1)


@cache
def _items() -> dict[str, Item]:
    """Return all entries by name, in the order of `KINDS`."""
    every = [*_classes(), *_functions(), *_plan(), *_transforms(), *_datasets()]
    return {item.name: item for item in sorted(every, key=lambda item: (KINDS.index(item.kind), item.name))}


def _classes() -> Iterator[Item]:
    for entry in CATALOG.classes.values():
        loss = LOSSES.get(entry.name)
        if loss is not None:  # what a plan may say of it, and what it is called with
            schema = {**loss.model_json_schema(), "called_with": list(loss.forward)}
            yield Item(entry.name, "loss", entry.family, _first_line(loss), schema)
        else:
            yield _definition_item(entry.name, "layer", entry.family, entry)


def _functions() -> Iterator[Item]:
    for space, entries in CATALOG.functions.items():
        kind = "initialiser" if space == _INITIALISERS else "function"
        for name, entry in entries.items():
            yield _definition_item(f"{space}.{name}", kind, space, entry)
    for name, entry in CATALOG.methods.items():
        yield _definition_item(f"Tensor.{name}", "method", "Tensor", entry)


def _definition_item(name: str, kind: str, family: str, entry: Entry) -> Item:
    schema = entry.json_schema()
    doc = entry.doc or _borrowed_doc(entry.name)
    return Item(name, kind, family, doc, {**schema, "description": doc})


def _borrowed_doc(name: str) -> str:
    """Return the doc of the namesake that has one: torch documents some functions in one namespace only."""
    plain = name.rstrip("_")
    namesakes = [space.get(plain) for space in (CATALOG.functions["F"], CATALOG.functions["torch"], CATALOG.methods)]
    namesakes.append(CATALOG.methods.get(f"{plain}_"))
    return next((one.doc for one in namesakes if one is not None and one.doc), _OWN_DOCS.get(plain, ""))


def _plan() -> Iterator[Item]:
    for kind, union in (("optimizer", Optimizer), ("scheduler", Scheduler)):
        for model in _members(union):
            yield Item(model.__name__, kind, kind, _first_line(model), model.model_json_schema())
    for name in METRICS:
        yield Item(name, "metric", "quick", name.replace("_", " ").capitalize(), {"const": name})
    for metric in metric_classes().values():
        # A layer may have the same name; a plan writes the class's own name all the same.
        name = f"torchmetrics.{metric.name}" if metric.name in CATALOG.classes else metric.name
        yield Item(name, "metric", metric.family, metric.doc, metric.json_schema())


def _transforms() -> Iterator[Item]:
    for one in transform_classes().values():
        yield Item(one.name, "transform", one.family, one.doc, one.json_schema())


def _datasets() -> Iterator[Item]:
    for info in DATASETS.values():
        yield Item(info.name, "dataset", "scikit-learn", info.title, {"const": info.name, **info.to_dict()})


def _members(union: object) -> tuple[type[BaseModel], ...]:
    """Return the classes of ``Annotated[A | B, …]``."""
    members: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return members


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").split("\n", 1)[0]
