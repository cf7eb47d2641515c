"""Predictions: a request checked, its rows and its model found, a warm child's answer told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from services.config import Settings
from services.db.engine import Database
from services.errors import InvalidRequest
from services.predictions.schema import DEFAULT_LIMIT, PredictRequest
from services.predictions.subject import Subject, find_rows, lay_out, read_subject
from services.predictions.warm import Event, WarmModels
from services.training.problems import problems_from


@dataclass(frozen=True, slots=True)
class Site:
    """What predictions are made with."""

    database: Database
    models: WarmModels
    settings: Settings


@dataclass(frozen=True, slots=True)
class Stream:
    """Predictions row by row: what is known before the first, then the rows, then what is known at the end."""

    head: dict[str, Any]
    lines: Iterator[dict[str, Any]]
    """Each row; the last of them, without ``row``, has ``metrics``."""


def predict(site: Site, *, tenant_id: str, checkpoint_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return predictions of the rows that a request holds or names, with loss and metrics where they have a target.

    Raises:
        NotFound: the tenant has no such checkpoint (any more).
        InvalidRequest: with every problem of the request, or of its rows.
        Conflict: ``checkpoint_corrupt``; the data set's bytes are damaged.
        Unavailable: all children are busy.
    """
    subject, request = _read(site.database, tenant_id, checkpoint_id, body)
    limit = request.limit or (DEFAULT_LIMIT if request.data is not None else len(request.rows or ()) or None)
    limit = limit or max(map(len, (request.columns or {}).values()))
    events = _events(site, subject, request, limit, tenant_id=tenant_id)
    answer: dict[str, Any] = {**_about(subject), "first": request.first, "predictions": [], "metrics": None}
    for event in events:
        answer |= event.get("begin", {}) | event.get("end", {})
        answer["predictions"] += event.get("block", [])
    answer["has_more"] = request.first + len(answer["predictions"]) < answer["total_rows"]
    return answer


def stream(site: Site, *, tenant_id: str, checkpoint_id: str, body: dict[str, Any]) -> Stream:
    """Return the same row by row, however many there are, in constant memory; ``limit`` is none by default.

    Raises:
        NotFound, InvalidRequest, Conflict, Unavailable: as `predict`, before the first row; later the lines end
            with such an error.
    """
    subject, request = _read(site.database, tenant_id, checkpoint_id, body)
    events = _events(site, subject, request, request.limit, tenant_id=tenant_id)
    begun = next(events)
    return Stream({**_about(subject), **begun["begin"]}, _lines(events))


def _read(
    database: Database, tenant_id: str, checkpoint_id: str, body: dict[str, Any]
) -> tuple[Subject, PredictRequest]:
    with database.read_session() as session:
        subject = read_subject(session, tenant_id=tenant_id, checkpoint_id=checkpoint_id)
    try:
        return subject, PredictRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidRequest(problems_from(error, PredictRequest)) from None


def _events(
    site: Site, subject: Subject, request: PredictRequest, limit: int | None, *, tenant_id: str
) -> Iterator[Event]:
    data = None
    if request.data is not None:
        data = find_rows(site.database, subject, request.data, tenant_id=tenant_id, settings=site.settings)
    told = request.model_dump(include={"rows", "columns", "first", "top_k", "outputs", "metrics", "seed"})
    return site.models.ask(
        subject.key,
        lambda folder: lay_out(site.database, folder, subject, tenant_id=tenant_id, settings=site.settings),
        {**told, "limit": limit, "data": data},
        streamed=limit is None,
    )


def _lines(events: Iterator[Event]) -> Iterator[dict[str, Any]]:
    for event in events:
        yield from event.get("block", [])
        if "end" in event:
            yield event["end"]


def _about(subject: Subject) -> dict[str, Any]:
    view = subject.checkpoint
    return {
        "object": "prediction",
        "checkpoint_id": view["id"],
        "job_id": view["job_id"],
        "step": view["step"],
        "links": {"checkpoint": view["links"]["self"], "job": f"/v1/jobs/{view['job_id']}"},
    }
