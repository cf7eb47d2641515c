"""``POST /v1/checkpoints/{id}/predict``: a trained model on rows, as JSON or as a stream."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from fastapi import APIRouter, Depends, Request, Response

from api import examples
from api.body import JsonBody
from api.dependencies import PredictionSlot, Reader, ServiceParts
from api.openapi import answer, json_request, problems
from api.prediction_views import PredictionView, csv_lines, json_lines
from api.query import no_query
from api.responses import accepted, json_answer, prefers_csv
from api.streaming import LinesResponse
from services.predictions import service

router = APIRouter(prefix="/checkpoints/{checkpoint_id}/predict", tags=["checkpoints"])

NDJSON = "application/x-ndjson"
_BESIDE = {
    NDJSON: {
        "schema": {"type": "string"},
        "example": '{"row":0,"label":"7"}\n{"object":"prediction","metrics":null}\n',
    },
    "text/csv": {"schema": {"type": "string"}, "example": "row,label,probability,target\n12,7,0.98,7\n"},
}


@router.post(
    "",
    summary="Predict with a checkpoint",
    dependencies=[Depends(no_query)],
    responses={
        **answer(200, PredictionView, "The predictions, in the order of the rows.", beside=_BESIDE),
        **problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 503),
    },
    openapi_extra=json_request("PredictRequest", examples.PREDICTIONS),
)
def predict(
    *, checkpoint_id: str, request: Request, caller: Reader, body: JsonBody, _slot: PredictionSlot, parts: ServiceParts
) -> Response:
    """Run a trained model on rows given here (`rows`, `columns`), or on rows of a data set (`data`).

    Values are raw, as the data set's file has them: numbers before normalization, categories by name, texts, images as
    base64 of their file. They are prepared as in training; labels come back by name, numbers in the unit of the data.
    Any checkpoint will do, also while its job trains on. With `Accept: application/x-ndjson` or `text/csv` all rows are
    streamed; a stream that breaks off ends the connection, so a complete answer is a whole one.
    """
    media_type = _stream_type(request.headers.get("accept", ""))
    site = service.Site(parts.database, parts.warm, parts.settings)
    about = {"tenant_id": caller.tenant_id, "checkpoint_id": checkpoint_id}
    if media_type is None:
        return json_answer(service.predict(site, **about, body=body), headers={"Vary": "Accept"})
    made = service.stream(site, **about, body=body)
    lines = csv_lines(made.lines) if media_type == "text/csv" else json_lines(made.head, made.lines)
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "Vary": "Accept"}
    return LinesResponse(_in_blocks(lines), status_code=200, headers=headers)


def _stream_type(accept: str) -> str | None:
    """Return the media type of a stream, where one is asked for."""
    if prefers_csv(accept) and "text/csv" in accepted(accept):
        return "text/csv"
    return NDJSON if accepted(accept).get(NDJSON, 0.0) > 0 else None


def _in_blocks(lines: Iterator[bytes], size: int = 256) -> Iterator[bytes]:
    """Yield many lines at a time: each piece costs a turn of the event loop."""
    while block := b"".join(itertools.islice(lines, size)):
        yield block
