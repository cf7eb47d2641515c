"""The shapes of answers about data sets, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.views import ListView, ProblemItem, Time, View


class FetchView(View):
    """How the fetching of a file goes."""

    url: str
    version: str | None = Field(description="The ETag of what is fetched, where its server says one.")
    received_bytes: int
    size_bytes: int | None = Field(description="Of the whole file, once its server has said so.")
    tries: int = Field(description="In a row without a byte; after five it is given up.")
    error: str | None = Field(description="Why the last try ended early.")


class DatasetView(View):
    """A data set: named columns, one value or array of values a row."""

    id: str = Field(examples=["ds_01kaq9y3t6f8m2r4v7x0z5b1cd"], description="A built-in one has its name as id.")
    object: Literal["dataset"]
    name: str
    owner: Literal["own", "builtin"]
    state: Literal["fetching", "uploading", "preparing", "ready", "failed"]
    format: str
    options: dict[str, Any]
    rows: int | None
    columns: dict[str, Any] | None = Field(description="By name: `dtype`, `shape` of a row, `kind`, classes.")
    default_inputs: list[str] | None
    default_target: str | None
    licence: str | None
    source: str | None
    problems: list[ProblemItem] = Field(description="Why it could not be read.")
    fetch: FetchView | None = Field(description="Of one that the service fetches: how far it is.")
    source_sha256: str | None = Field(description="Of the file as you sent it.")
    source_size_bytes: int | None
    sha256: str | None = Field(description="Of the prepared columns that trainers read.")
    size_bytes: int | None
    created_at: str | None = Time
    updated_at: str | None = Time
    links: dict[str, str]


class DatasetPartView(View):
    """One part of an upload that has arrived whole."""

    object: Literal["dataset_part"]
    number: int
    size_bytes: int
    sha256: str


class DatasetPreviewView(View):
    """The first rows of a data set, and statistics of all."""

    object: Literal["dataset_preview"]
    dataset_id: str
    total_rows: int
    rows: int = Field(description="How many are shown.")
    columns: dict[str, list[Any]] = Field(description="The values of the first rows; `null` where one is missing.")
    statistics: dict[str, dict[str, Any]]


class DatasetList(ListView):
    """A page of data sets."""

    data: list[DatasetView]


class DatasetPartList(ListView):
    """The parts of an upload."""

    data: list[DatasetPartView]
