"""What may stand after the ``?``: one model for each route, and no other names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from services.catalog.service import KINDS
from services.datasets.limits import MAX_PREVIEW_ROWS
from services.datasets.schema import FORMATS
from services.errors import InvalidRequest, Problem
from services.jobs.states import STATES
from services.logs.service import LEVELS, Level
from services.metrics.service import MAX_POINTS

MAX_LIMIT = 100
DATASET_STATES = ("fetching", "uploading", "preparing", "ready", "failed")
_MAX_STEP = 2**63 - 1
_MAX_PARTS = 200
_LABEL = "label."
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})\Z", re.ASCII)
_SHOWN_CHARACTERS = 80
_RANGE_ERRORS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "int_parsing_size"}
_RANGE_ERRORS |= {"string_too_long", "too_long", "string_too_short", "too_short"}


@dataclass(frozen=True, slots=True)
class ParameterProblem(Problem):
    """A problem of a query parameter, which no pointer into the body can name."""

    parameter: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, without the members that are ``None``."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def _split(values: object) -> object:
    """``a,b`` and a repeated parameter mean the same."""
    if not isinstance(values, list):
        return values
    parts = [part for value in values for part in str(value).split(",")]
    if len(parts) > _MAX_PARTS:
        return parts  # too many are too many, empty or not
    return [part for part in parts if part]


def _time(value: object) -> object:
    """A time is written out: pydantic alone would also take seconds since 1970, and dates without a time."""
    if isinstance(value, str) and not _TIME.match(value):
        raise PydanticCustomError("datetime_type", "Write a time as in 2026-11-23T04:30:00Z")
    return value


CommaSeparated = Annotated[
    list[Annotated[str, Field(max_length=200)]], BeforeValidator(_split), Field(max_length=_MAX_PARTS)
]
Moment = Annotated[AwareDatetime, BeforeValidator(_time)]
Cursor = Annotated[str | None, Field(description="The `last_id` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many to return at most.")]


class NoQuery(BaseModel):
    """A route without query parameters."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_nul(cls, values: dict[str, Any]) -> dict[str, Any]:
        """PostgreSQL keeps no NUL in a text, so nothing that holds one can be found."""
        texts = [*values]
        for name, value in values.items():
            if name != "after":  # a cursor is checked by its own form
                texts += value if isinstance(value, list) else [value]
        if any("\0" in text for text in texts):
            raise PydanticCustomError("invalid_character", "A parameter may not hold the NUL character (U+0000)")
        return values


class CreateJobQuery(NoQuery):
    """``POST /v1/jobs``."""

    validate_only: bool = Field(False, description="Check the request and report, but store and run nothing.")


class JobQuery(NoQuery):
    """``GET /v1/jobs/{id}``."""

    wait: float = Field(0, ge=0, le=60, description="Answer at the next change, or unchanged after so many seconds.")


class PageQuery(NoQuery):
    """Every list."""

    limit: Limit = 20
    after: Cursor = None


class LogsQuery(PageQuery):
    """``GET /v1/jobs/{id}/logs``."""

    level: Annotated[list[Level], BeforeValidator(_split), Field(max_length=len(LEVELS))] = Field(
        [], description=f"Only lines of these levels: {', '.join(LEVELS)}."
    )


class ThingsQuery(PageQuery):
    """A list of things that were made at some time."""

    created_after: Moment | None = Field(
        None, description="Only what was made later: RFC 3339, as in `2026-11-23T04:30:00Z`."
    )


class JobsQuery(ThingsQuery):
    """``GET /v1/jobs``; beside these any ``label.<name>=<value>``."""

    model_config = ConfigDict(extra="allow")

    status: CommaSeparated = Field([], description=f"Only jobs in these states: {', '.join(STATES)}.")

    def labels(self) -> dict[str, str]:
        """Return the labels asked for.

        Raises:
            InvalidRequest: ``extra_forbidden`` for a name that is no ``label.…``, ``unknown_value`` for a state.
        """
        extra: Mapping[str, Any] = self.model_extra or {}
        problems = [_unknown(name) for name in extra if not name.startswith(_LABEL) or name == _LABEL]
        problems += [_repeated(name) for name, value in extra.items() if not isinstance(value, str)]
        problems += [_no_state(state, STATES) for state in self.status if state not in STATES]
        if problems:
            raise InvalidRequest(problems)
        return {name.removeprefix(_LABEL): value for name, value in extra.items()}


class NewDatasetQuery(NoQuery):
    """``POST /v1/datasets``: with ``format`` the body is the file itself."""

    format: str | None = Field(None, max_length=40, description=f"The body is a file: {', '.join(FORMATS)}.")
    name: str | None = Field(None, min_length=1, max_length=200, description="A name for people.")
    target: str | None = Field(None, min_length=1, max_length=200, description="The column to predict by default.")
    inputs: CommaSeparated = Field([], description="Columns that a model sees by default.")

    def given(self) -> dict[str, Any]:
        """Return what was said beside the format."""
        members = {"name": self.name, "target": self.target, "inputs": self.inputs}
        return {name: value for name, value in members.items() if value}


class DatasetsQuery(ThingsQuery):
    """``GET /v1/datasets``."""

    owner: Literal["own", "builtin"] | None = Field(None, description="Only yours, or only the built-in ones.")
    status: CommaSeparated = Field([], description=f"Only data sets in these states: {', '.join(DATASET_STATES)}.")


class CompleteQuery(NoQuery):
    """``POST /v1/datasets/{id}/complete``."""

    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="Of the whole file, to be verified.")


class PreviewQuery(NoQuery):
    """``GET /v1/datasets/{id}/preview``."""

    rows: int = Field(10, ge=1, le=MAX_PREVIEW_ROWS, description="How many rows at most.")


class MetricsQuery(NoQuery):
    """``GET /v1/jobs/{id}/metrics``."""

    names: CommaSeparated = Field([], description="Only these series, comma-separated; all without it.")
    after_step: int | None = Field(None, ge=-1, le=_MAX_STEP, description="Only points of later steps.")
    max_points: int = Field(
        MAX_POINTS, ge=1, le=MAX_POINTS, description="At most so many points a series; min/max buckets beyond."
    )
    latest: bool = Field(False, description="Only the newest point of each series.")


class CatalogQuery(NoQuery):
    """``GET /v1/catalog``."""

    kind: Literal[KINDS] | None = Field(None, description=f"Only entries of this kind: {', '.join(KINDS)}.")  # type: ignore[valid-type]  # the tuple is the truth
    search: str | None = Field(None, max_length=200, description="Only entries whose name or doc holds this text.")


class SummaryQuery(NoQuery):
    """``GET /v1/models/{id}/summary``."""

    format: Literal["json", "text"] = Field("json", description="`text` for people.")


class ContentQuery(NoQuery):
    """``GET /v1/checkpoints/{id}/content``."""

    format: Literal["safetensors", "torch", "onnx", "torch-export"] = Field(
        "safetensors", description="The file format; all but the first are converted on the first ask."
    )
    part: Literal["weights", "state", "state-json"] = Field(
        "weights", description="`state`: tensors of the optimizer and of averages; `state-json`: the rest of the state."
    )


async def no_query(request: Request) -> None:
    """Refuse every query parameter.

    Raises:
        InvalidRequest: ``extra_forbidden``.
    """
    if unknown := list(request.query_params):
        raise InvalidRequest([_unknown(name) for name in unknown])


def unknown_states(states: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a filter by states that there are not.

    Raises:
        InvalidRequest: ``unknown_value``.
    """
    if problems := [_no_state(state, known) for state in states if state not in known]:
        raise InvalidRequest(problems)


def query_problems(pydantic_errors: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Translate what pydantic found in path, query and header parameters into our codes."""
    return [_problem(error) for error in pydantic_errors]


def _problem(error: Mapping[str, Any]) -> Problem:
    kind, name = error["type"], str(error["loc"][1])[:_SHOWN_CHARACTERS] if len(error["loc"]) > 1 else ""
    if kind == "extra_forbidden":
        return _unknown(name)
    if kind in _RANGE_ERRORS:
        limits = _limits().get(name, error["msg"])
        return ParameterProblem("out_of_range", f"`{name}` is out of range: {limits}.", parameter=name)
    if kind.startswith("datetime_"):
        kind = "datetime_type"
    # Query strings hold text only: what does not parse as a number is no number.
    code = kind.removesuffix("_parsing") + "_type" if kind.endswith("_parsing") else kind
    return ParameterProblem(code, f"`{name}`: {error['msg']}.", parameter=name)


@cache
def _limits() -> dict[str, str]:
    """Return, in words, between what each numeric parameter must lie."""
    words = {}
    for model in (PageQuery, JobQuery, MetricsQuery, PreviewQuery):
        for name, schema in model.model_json_schema()["properties"].items():
            node = next((one for one in schema.get("anyOf", [schema]) if "minimum" in one), None)
            if node:
                words[name] = f"it must be at least {node['minimum']} and at most {node['maximum']}"
    return words


def _unknown(name: str) -> Problem:
    shown = name[:_SHOWN_CHARACTERS]
    return ParameterProblem("extra_forbidden", f"There is no query parameter `{shown}` here.", parameter=shown)


def _repeated(name: str) -> Problem:
    shown = name[:_SHOWN_CHARACTERS]
    return ParameterProblem("duplicate_name", f"`{shown}` is given twice.", parameter=shown)


def _no_state(state: str, known: Sequence[str]) -> Problem:
    hint = f"One of {', '.join(known)}."
    detail = f"There is no state `{state[:_SHOWN_CHARACTERS]}`."
    return ParameterProblem("unknown_value", detail, hint=hint, parameter="status")
