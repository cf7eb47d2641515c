"""The request for predictions: rows in itself, or rows of a data set; and how much is to be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from services.datasets.limits import MAX_NAME_CHARACTERS
from services.training.model import MAX_SEED, Section, problem

MAX_ROWS = 10_000
"""Rows that one request may hold, name or list; streams list any number."""
DEFAULT_LIMIT = 1_000

ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


def _check_count(rows: list[Any] | None) -> list[Any] | None:
    if rows is not None and not 1 <= len(rows) <= MAX_ROWS:
        code = "too_many_rows" if rows else "out_of_range"
        detail = f"{len(rows):,} rows are given; a request holds 1 to {MAX_ROWS:,}."
        raise problem(code, detail, hint="Send them in several requests, or upload them as a data set.")
    return rows


def _check_columns(columns: dict[str, Any] | None) -> dict[str, Any] | None:
    for name, values in (columns or {}).items():
        if not isinstance(values, list | str):
            pointer = f"/{name.replace('~', '~0').replace('/', '~1')}"
            raise problem("list_type", "A column is an array with one value a row.", pointer=pointer)
        if len(values) > MAX_ROWS:
            detail = f"{len(values):,} rows are given; a request holds 1 to {MAX_ROWS:,}."
            raise problem("too_many_rows", detail, hint="Send them in several requests.")
    if columns is not None and not any(map(len, columns.values())):
        raise problem("out_of_range", f"0 rows are given; a request holds 1 to {MAX_ROWS:,}.")
    return columns


class PredictData(Section):
    """Rows of a data set; by default all of what the job trained, validated and tested on."""

    dataset: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="A built-in data set, or one of yours (`ds_…`); by default the job's own."
    )
    split: Literal["train", "validation", "test"] | None = Field(
        None, description="Only this part of it, cut by the job's rule."
    )
    rows: Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], AfterValidator(_check_count)] | None = Field(
        None,
        description="Only these, numbered from 0 within the part, or the data set; windows if the job has them.",
    )


class PredictRequest(Section):
    """Which rows, and what to tell of them. One of ``rows``, ``columns`` and ``data`` is required."""

    rows: Annotated[list[dict[ColumnName, Any]], AfterValidator(_check_count)] | None = Field(
        None, description="One object a row: raw values by the names of the data set's columns."
    )
    columns: Annotated[dict[ColumnName, Any], AfterValidator(_check_columns)] | None = Field(
        None, description="The same as one array a column; a text stands for its characters."
    )
    data: PredictData | None = None
    first: Annotated[int, Field(ge=0, le=2**40)] = Field(0, description="The first of these rows to list.")
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] | None = Field(
        None,
        description=f"How many to list at most; by default all that the request holds, {DEFAULT_LIMIT} of a data set.",
    )
    top_k: Annotated[int, Field(ge=0, le=1000)] = Field(5, description="How many classes to give probabilities of.")
    outputs: bool = Field(False, description="Also tell what the model itself returned.")
    metrics: bool = Field(
        True, description="Also compute the job's loss and metrics over all of these rows, where they have a target."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(0, description="Of what the model draws, if it does.")

    @model_validator(mode="after")
    def _one_source(self) -> PredictRequest:
        given = [name for name in ("rows", "columns", "data") if getattr(self, name) is not None]
        if not given:
            detail = "One of `rows`, `columns` and `data` is required."
            raise problem(
                "missing", detail, pointer="/rows", hint='{"data": {"split": "test"}} is the job\'s test part.'
            )
        if len(given) > 1:
            raise problem("conflict", f"`{given[0]}` and `{given[1]}` exclude each other.", pointer=f"/{given[1]}")
        return self
