"""``/v1/sweeps``: create, look, list, cancel, the table of trials, parallel coordinates."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field

from api.audited import AuditedRoute
from api.body import JsonBody
from api.dependencies import Reader, ServiceParts, SubmissionSlot, Writer, WriteSession
from api.idempotency import Acted, ActOnce, IdempotencyKey, made_answer
from api.openapi import answer, json_request, problems
from api.query import CommaSeparated, CreateJobQuery, Cursor, NoQuery, PageQuery, ThingsQuery, no_query, unknown_states
from api.responses import accepted, csv_rows, json_answer, list_answer, prefers_csv, tagged_json, tagged_text
from api.sweep_examples import SWEEPS
from api.sweep_views import (
    ParallelCoordinatesView,
    SweepList,
    SweepTrialList,
    SweepValidationView,
    SweepView,
)
from services.pictures.parallel import draw
from services.sweeps import service
from services.sweeps.coordinates import parallel_coordinates
from services.sweeps.trials import list_trials, trial_table
from services.sweeps.views import TRIAL_STATES

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=AuditedRoute)

SWEEP_STATES = ("running", "stopping", "cancelling", "succeeded", "failed", "cancelled")
_SVG = "image/svg+xml"


class SweepsQuery(ThingsQuery):
    """``GET /v1/sweeps``."""

    status: CommaSeparated = Field([], description=f"Only sweeps in these states: {', '.join(SWEEP_STATES)}.")


class TrialsQuery(NoQuery):
    """``GET /v1/sweeps/{id}/trials``."""

    limit: int | None = Field(
        None, ge=1, le=100, description="How many to return at most: 20 by default, all of them as CSV."
    )
    after: Cursor = None
    status: CommaSeparated = Field([], description=f"Only trials in these states: {', '.join(TRIAL_STATES)}.")


class CoordinatesQuery(NoQuery):
    """``GET /v1/sweeps/{id}/parallel-coordinates``."""

    format: Literal["json", "svg"] | None = Field(None, description="`svg` for a picture; else as `Accept` says.")


@router.post(
    "",
    summary="Search over the fields of a job",
    status_code=HTTPStatus.CREATED,
    responses={
        **answer(201, SweepView, "The sweep runs; `Location` is its address."),
        **answer(200, SweepValidationView, "With `validate_only=true`: what would be tried. Nothing was stored."),
        **problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_request("SweepRequest", SWEEPS),
)
def create_sweep(
    *,
    caller: Writer,
    query: Annotated[CreateJobQuery, Query()],
    body: JsonBody,
    _slot: SubmissionSlot,
    session: WriteSession,
    parts: ServiceParts,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Check a base job and the space of values for its fields, and begin to try them.

    Every trial is a job of its own, labelled `sweep` and `trial`. Points that cannot be trained are dropped before they
    cost a worker. Pointers that lead nowhere and values that a field never takes are refused here, all at once.
    """
    if query.validate_only:
        report = service.validate(
            session, tenant_id=caller.tenant_id, body=body, preflight=parts.preflight, settings=parts.settings
        )
        return json_answer(report)
    made = service.create(
        session,
        tenant_id=caller.tenant_id,
        body=body,
        preflight=parts.preflight,
        settings=parts.settings,
        doorbell=parts.doorbell,
        idempotency_key=idempotency_key,
    )
    return made_answer(made.sweep, f"/v1/sweeps/{made.sweep['id']}", replayed=made.replayed)


@router.get(
    "",
    summary="List sweeps",
    responses={**answer(200, SweepList, "A page of your sweeps, newest first."), **problems(401, 403, 422, 503)},
)
def list_sweeps(query: Annotated[SweepsQuery, Query()], parts: ServiceParts, caller: Reader) -> Response:
    """Return a page of your sweeps, newest first."""
    unknown_states(query.status, SWEEP_STATES)
    with parts.database.read_session() as session:
        page = service.list_sweeps(
            session,
            tenant_id=caller.tenant_id,
            limit=query.limit,
            after=query.after,
            states=query.status,
            created_after=query.created_after,
        )
    return list_answer(page)


@router.get(
    "/{sweep_id}",
    summary="Look at a sweep",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, SweepView, "The sweep as it is now."),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_sweep(sweep_id: str, request: Request, parts: ServiceParts, caller: Reader) -> Response:
    """Return a sweep: its state, how many trials are where, and the best of them with its checkpoint."""
    with parts.database.read_session() as session:
        sweep = service.get_sweep(session, tenant_id=caller.tenant_id, sweep_id=sweep_id)
    return tagged_json(request, sweep)


@router.post(
    "/{sweep_id}/cancel",
    summary="Cancel a sweep",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, SweepView, "The sweep, cancelled or about to be."),
        **problems(400, 401, 403, 404, 409, 422, 503),
    },
)
def cancel_sweep(sweep_id: str, session: WriteSession, parts: ServiceParts, caller: Writer, once: ActOnce) -> Response:
    """Cancel a sweep and its jobs; asking twice is asking once.

    Trials that wait are cancelled at once, those that train write a last checkpoint and end within seconds. What was
    found stays. One that has already ended answers 409 `already_terminal` with its `state`.
    """

    def act() -> Acted:
        sweep = service.request_cancel(session, tenant_id=caller.tenant_id, sweep_id=sweep_id, doorbell=parts.doorbell)
        return sweep, HTTPStatus.OK

    return once(act)


@router.get(
    "/{sweep_id}/trials",
    summary="List the trials of a sweep",
    responses={
        **answer(
            200,
            SweepTrialList,
            "A page of trials by number; with `Accept: text/csv` a table with a column for each parameter.",
            beside={"text/csv": {"schema": {"type": "string"}}},
        ),
        **problems(401, 403, 404, 422, 503),
    },
)
def get_trials(
    sweep_id: str, request: Request, query: Annotated[TrialsQuery, Query()], parts: ServiceParts, caller: Reader
) -> Response:
    """Return trials: parameters, state, objective, steps, duration, and links to job, metrics and best checkpoint."""
    unknown_states(query.status, TRIAL_STATES)
    as_csv = prefers_csv(request.headers.get("accept", ""))
    with parts.database.read_session() as session:
        page = list_trials(
            session,
            tenant_id=caller.tenant_id,
            sweep_id=sweep_id,
            limit=query.limit or (None if as_csv else PageQuery().limit),
            after=query.after,
            states=query.status,
        )
    return csv_rows(trial_table(page)) if as_csv else list_answer(page)


@router.get(
    "/{sweep_id}/parallel-coordinates",
    summary="See a sweep as parallel coordinates",
    responses={
        **answer(
            200,
            ParallelCoordinatesView,
            "Axes and lines, or the picture.",
            beside={_SVG: {"schema": {"type": "string"}}},
        ),
        304: {"description": "It is as you know it (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_parallel_coordinates(
    sweep_id: str, request: Request, query: Annotated[CoordinatesQuery, Query()], parts: ServiceParts, caller: Reader
) -> Response:
    """Return an axis for each dimension and one for the objective, and a line for each trial.

    `?format=svg`, or `Accept: image/svg+xml`, gets it drawn.
    """
    with parts.database.read_session() as session:
        found = parallel_coordinates(session, tenant_id=caller.tenant_id, sweep_id=sweep_id)
    if (query.format or _preferred(request.headers.get("accept", ""))) == "svg":
        return tagged_text(request, draw(found), media_type=_SVG)
    return tagged_json(request, found)


def _preferred(accept: str) -> str:
    weights = accepted(accept)
    return "svg" if weights.get(_SVG, 0.0) > weights.get("application/json", 0.0) else "json"
