"""The request that begins an upload, or carries a tiny data set in itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from services.datasets.limits import MAX_NAME_CHARACTERS
from services.training.model import Section, problem

FORMATS = ("csv", "npy", "npz", "safetensors", "parquet", "images", "text")
"""What can be uploaded. ``json`` is what a request itself may hold."""

ColumnName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
ColumnType = Literal["integer", "number", "category", "text"]


class CsvOptions(Section):
    """How a CSV file is read; what is absent is found out from the file."""

    delimiter: Literal[",", ";", "\t", "|", " "] | None = Field(None, description="By default the one that fits.")
    header: bool | None = Field(None, description="Whether the first line has the names of the columns.")
    missing: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=32)] = Field(
        ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"], description="Cells that mean: no value."
    )
    types: Annotated[dict[ColumnName, ColumnType], Field(max_length=4096)] = Field(
        default_factory=dict, description="Types of columns that must not be found out from their cells."
    )


class ImageOptions(Section):
    """How the images of a zipped folder become one tensor."""

    size: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = Field(
        None, description="[height, width] to resize to; needed when the images differ in size."
    )
    channels: Literal[1, 3] | None = Field(None, description="1 is grey, 3 is RGB; by default 1 if all are grey.")


class TextOptions(Section):
    """What one row of a plain text is."""

    unit: Literal["character", "byte"] = "character"


class DatasetRequest(Section):
    """A new data set: either ``format``, and its bytes follow in parts, or ``columns`` or ``rows`` here and now."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="A name for people.")
    format: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        None, description=f"One of {', '.join(FORMATS)}."
    )
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = Field(
        None,
        description="An https address, or `s3://bucket/key`, from which the service fetches the file, if the operator "
        "allows the host or the bucket.",
    )
    csv: CsvOptions | None = None
    images: ImageOptions | None = None
    text: TextOptions | None = None
    inputs: Annotated[list[ColumnName], Field(min_length=1, max_length=4096)] | None = Field(
        None, description="Columns that a model sees when a job does not say."
    )
    target: ColumnName | None = Field(None, description="The column to predict when a job does not say.")
    size_bytes: Annotated[int, Field(ge=1, le=1 << 40)] | None = Field(None, description="Of the whole file.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="Of the whole file. If you have uploaded it, or begun to, that data set is the answer."
    )
    columns: Annotated[dict[ColumnName, list[Any]], Field(min_length=1, max_length=4096)] | None = Field(
        None, description="Tiny data: for each column one value, or nested list of values, a row."
    )
    rows: Annotated[list[dict[ColumnName, Any]], Field(min_length=1)] | None = Field(
        None, description="Tiny data: one object a row, all with the same members."
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatasetRequest:
        given = [name for name in ("format", "columns", "rows") if getattr(self, name) is not None]
        if not given:
            raise problem("missing", "One of `format`, `columns` or `rows` is required.", pointer="/format")
        if len(given) > 1:
            raise problem("conflict", f"`{given[0]}` and `{given[1]}` exclude each other.", pointer=f"/{given[1]}")
        if self.url is not None and self.format is None:
            raise problem("conflict", f"`url` and `{given[0]}` exclude each other.", pointer="/url")
        for name in ("csv", "images", "text"):
            if getattr(self, name) is not None and self.format != name:
                detail = f"`{name}` says how to read {name}, but the format is {self.format or 'json'}."
                raise problem("conflict", detail, pointer=f"/{name}")
        return self

    def options(self) -> dict[str, Any]:
        """Return what decides, beside the bytes, what the data set will be."""
        how = {"csv": self.csv or CsvOptions(), "images": self.images or ImageOptions()}
        how |= {"text": self.text or TextOptions()}
        chosen = how.get(self.format or "")
        return {"inputs": self.inputs, "target": self.target, **(chosen.model_dump() if chosen else {})}
