"""The shape of answers about predictions, for the OpenAPI document alone, and how their rows are told as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from api.views import View


class PredictionView(View):
    """Predictions of one checkpoint."""

    object: Literal["prediction"]
    checkpoint_id: str = Field(examples=["ckpt_01kaq9y3t6f8m2r4v7x0z5b1cd"])
    job_id: str
    step: int = Field(description="How many steps the checkpoint was trained for.")
    kind: Literal["classification", "multi_label", "regression", "outputs"] = Field(
        description="What a prediction is, as the job's loss tells."
    )
    target: str | None = Field(description="The column that is predicted.")
    class_names: list[str]
    first: int
    total_rows: int = Field(description="How many rows, or windows, were named.")
    has_more: bool = Field(description="Whether there are rows beyond those listed: ask on with `first`.")
    predictions: list[dict[str, Any]] = Field(
        description="`row`, then `label` and `probabilities`, `labels`, or `value`; `target`; `outputs`.",
        examples=[[{"row": 12, "label": "7", "probabilities": {"7": 0.98, "1": 0.01}, "target": "7"}]],
    )
    metrics: dict[str, Any] | None = Field(
        description="Loss and metrics over all of these rows, if they have a target."
    )
    ignored_columns: list[str] = Field(description="Columns that were given, and that nothing is made of.")


def json_lines(head: Mapping[str, Any], lines: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield one JSON object a line: each row, and at the end what is known of all."""
    for line in lines:
        whole = line if "row" in line else {**head, **line}
        yield json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def csv_lines(lines: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a header and a line for each row: nested values as JSON, objects by a column for each member."""
    names: list[str] = []
    for line in lines:
        if "row" not in line:
            return
        flat = _flat(line)
        if not names:
            names = [*flat]
            yield _csv_line(names)
        yield _csv_line([flat.get(name) for name in names])


def _flat(line: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in line.items():
        if name == "probabilities":
            flat["probability"] = next(iter(value.values()), None)
        elif name in ("value", "target") and isinstance(value, dict):
            flat |= {f"{name}.{member}": one for member, one in value.items()}
        else:
            flat[name] = value
    return flat


def _csv_line(values: list[Any]) -> bytes:
    text = io.StringIO()
    cells = [json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value for value in values]
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()
