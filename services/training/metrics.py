"""The metrics a plan may name: a few quick ones of our own, classes of torchmetrics, and expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from services.errors import Problem
from services.training.json_values import check_value
from services.training.model import problem
from services.training.problems import escape, nearest
from services.training.sources import QUICK

METRICS = QUICK
SERIES_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,99}\Z")
MAX_INPUTS = 8

_CLASS_METRICS = ("accuracy", "top_5_accuracy")
_BINARY_METRICS = ("accuracy",)
_REAL_METRICS = ("mean_absolute_error", "mean_squared_error", "root_mean_squared_error", "r2")
_BY_LOSS = {
    "CrossEntropyLoss": _CLASS_METRICS,
    "NLLLoss": _CLASS_METRICS,
    "MultiMarginLoss": _CLASS_METRICS,
    "BCEWithLogitsLoss": _BINARY_METRICS,
    "BCELoss": _BINARY_METRICS,
    "MultiLabelSoftMarginLoss": _BINARY_METRICS,
    "SoftMarginLoss": _BINARY_METRICS,
    "MSELoss": _REAL_METRICS,
    "L1Loss": _REAL_METRICS,
    "SmoothL1Loss": _REAL_METRICS,
    "HuberLoss": _REAL_METRICS,
    "PoissonNLLLoss": _REAL_METRICS,
    "GaussianNLLLoss": _REAL_METRICS,
}


@dataclass(frozen=True, slots=True)
class MetricClass:
    """A class of torchmetrics: what ``update`` takes, and the JSON Schema of each constructor argument."""

    name: str
    doc: str
    family: str
    inputs: tuple[str, ...]
    properties: Mapping[str, Any]
    required: tuple[str, ...]

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the object that names it in a plan."""
        properties = {"type": {"const": self.name}, **_COMMON, **self.properties}
        return {"type": "object", "description": self.doc, "properties": properties, "required": ["type"],
                "additionalProperties": False}  # fmt: skip


_COMMON: dict[str, Any] = {
    "name": {"type": "string", "pattern": SERIES_NAME.pattern.removesuffix("\\Z") + "$"},
    "inputs": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": MAX_INPUTS},
}


@cache
def metric_classes() -> dict[str, MetricClass]:
    """Return the closed list of torchmetrics classes, by name; torchmetrics is not imported."""
    listed = json.loads(Path(__file__).with_name("torchmetrics.json").read_text(encoding="utf-8"))["classes"]
    return {
        name: MetricClass(
            name,
            entry["doc"],
            entry["family"],
            tuple(entry["inputs"]),
            entry["schema"]["properties"],
            tuple(entry["schema"]["required"]),
        )
        for name, entry in listed.items()
    }


def metrics_for(loss_type: str) -> tuple[str, ...]:
    """Return the quick metrics that make sense with a loss; the first is what a plan without ``metrics`` gets."""
    return _BY_LOSS.get(loss_type, ())


def check_metric(value: object) -> object:
    """Check one item of ``metrics``.

    Raises:
        PydanticCustomError: the first thing that is wrong with it.
    """
    found = _trouble(value)
    if found is not None:
        raise problem(found.code, found.detail, pointer=found.pointer, hint=found.hint)
    return value


def _trouble(value: object) -> Problem | None:
    if isinstance(value, str):
        return _unknown(value, "") if value not in _known() else None
    if not isinstance(value, dict):
        detail = "A metric is a name or an object."
        return Problem("metric_type", detail, "", 'For example "accuracy", or {"type": "MulticlassF1Score"}.')
    name = value.get("name")
    if "name" in value and not (isinstance(name, str) and SERIES_NAME.match(name)):
        hint = "Use up to 100 letters, digits and any of _ . -, beginning with a letter."
        return Problem("invalid_argument", "This cannot be the name of a series.", "/name", hint)
    return _trouble_of_expression(value) if "expression" in value else _trouble_of_class(value)


def _trouble_of_expression(value: Mapping[str, Any]) -> Problem | None:
    for member in value.keys() - {"name", "expression"}:
        return Problem("extra_forbidden", f"A metric expression has no field `{member}`.", f"/{escape(member)}")
    if "name" not in value:
        return Problem("missing", "`name` is required.", "/name", 'For example {"name": "mae", "expression": "…"}.')
    return check_value(value["expression"], {"type": "string", "minLength": 1, "maxLength": 4000}, "/expression")


def _trouble_of_class(value: Mapping[str, Any]) -> Problem | None:
    kind = value.get("type")
    if not isinstance(kind, str):
        return Problem("missing", "`type` is required.", "/type", "Name a metric, or give an expression.")
    if kind not in _known():
        return _unknown(kind, "/type")
    listed = metric_classes().get(kind)
    properties = {**_COMMON, **(listed.properties if listed else {})}
    for member, given in value.items():
        if member == "type":
            continue
        if member not in properties:
            hint = nearest(member, sorted(properties))
            return Problem("extra_forbidden", f"{kind} has no argument `{member}`.", f"/{escape(member)}", hint)
        found = check_value(given, properties[member], f"/{escape(member)}")
        if found is not None:
            return found
    return None


def _known() -> tuple[str, ...]:
    return (*METRICS, *metric_classes())


def _unknown(name: str, pointer: str) -> Problem:
    detail = f'"{name[:80]}" is none of the known values.'
    return Problem("unknown_value", detail, pointer, nearest(name, _known()))


_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {
            "type": "string",
            "description": "A quick metric, or a class of torchmetrics (`GET /v1/catalog?kind=metric`).",
        },
        {
            "type": "object",
            "properties": {"type": {"type": "string"}, **_COMMON},
            "required": ["type"],
            "description": "The same with arguments: those of the class.",
        },
        {
            "type": "object",
            "properties": {"name": _COMMON["name"], "expression": {"type": "string"}},
            "required": ["name", "expression"],
            "additionalProperties": False,
            "description": "A number a batch, over outputs and columns; averaged over the rows.",
        },
    ]
}
Metric = Annotated[Any, AfterValidator(check_metric), WithJsonSchema(_SCHEMA)]
