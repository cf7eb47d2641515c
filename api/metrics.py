"""``/v1/jobs/{id}/metrics``: series of numbers, as JSON or CSV."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import Reader, ServiceParts
from api.openapi import answer, problems
from api.query import MetricsQuery
from api.responses import csv_answer, prefers_csv, tagged_json
from api.views import MetricsView
from services.metrics import service

router = APIRouter(prefix="/jobs/{job_id}/metrics", tags=["metrics"])

_CSV = {"text/csv": {"schema": {"type": "string"}, "example": "series,step,value\ntrain/loss,1,2.3026\n"}}


@router.get(
    "",
    summary="Read metrics",
    responses={
        **answer(200, MetricsView, "The series.", beside=_CSV),
        304: {"description": "They are as you know them (`If-None-Match`)."},
        **problems(401, 403, 404, 422, 503),
    },
)
def get_metrics(
    job_id: str, query: Annotated[MetricsQuery, Query()], request: Request, parts: ServiceParts, caller: Reader
) -> Response:
    """Return the series of a job, such as `train/loss` and `validation/accuracy`.

    A long series is thinned to `max_points` by minimum and maximum of buckets, so that no spike is lost. A value that
    JSON cannot say is `null` and stands spelt out in `non_finite`. `Accept: text/csv` gets rows instead. To follow a
    running job pass the last step seen as `after_step`.
    """
    with parts.database.read_session() as session:
        metrics = service.get_metrics(
            session,
            tenant_id=caller.tenant_id,
            job_id=job_id,
            names=query.names or None,
            after_step=query.after_step,
            max_points=query.max_points,
            latest=query.latest,
        )
    if prefers_csv(request.headers.get("accept", "")):
        return csv_answer(metrics)
    return tagged_json(request, metrics)
