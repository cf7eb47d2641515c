"""Static graphs as clients ask for them: one definition captured, or measured against its dynamic form."""

from __future__ import annotations

from typing import Any

from services.config import Settings
from services.db.engine import Database
from services.graphs.schema import CaptureRequest, CompareRequest
from services.graphs.service import read_request, said
from services.graphs.sources import find_definition, find_inputs, weights_file
from services.pictures.chart import Mark, Series, lines
from services.preflight import Preflight

CAPTURE = "services.modules.static.run:run_capture"
COMPARE = "services.modules.static.run:run_compare"
_POINTS = 9


def make_capture(
    database: Database, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Capture a definition as one static graph and report how that went.

    Raises:
        InvalidRequest: with every problem of the request, of the definition, of the inputs, or of the dynamic run;
            ``model_too_large`` when it does not end in time.
        Busy: torch's compiler is still being loaded.
        Unavailable: no child could be had.
        ChunkCorrupt: stored bytes of the checkpoint or the data set are missing or changed.
    """
    request = read_request(body, CaptureRequest)
    report = _visit(CAPTURE, request, database, tenant_id, preflight, settings, {})
    return {"object": "graph_capture", **said(request), **report}


def make_comparison(
    database: Database, *, tenant_id: str, body: dict[str, Any], preflight: Preflight, settings: Settings
) -> dict[str, Any]:
    """Measure training steps of a definition, dynamic and static in turns, and try what a static graph cannot do.

    Raises:
        InvalidRequest, Busy, Unavailable, ChunkCorrupt: as `make_capture`; ``not_capturable`` without a static graph.
    """
    request = read_request(body, CompareRequest)
    more = {"measure_seconds": request.measure_seconds}
    report = _visit(COMPARE, request, database, tenant_id, preflight, settings, more)
    return {"object": "graph_comparison", **said(request), **report, "picture": {"svg": picture(report)}}


def picture(report: dict[str, Any]) -> str:
    """Return the chart of a comparison: time spent after so many steps, building included, as SVG."""
    even = report["break_even_steps"]
    last = max(2 * even, 20) if even is not None else report["steps_measured"]
    steps = [last * index / (_POINTS - 1) for index in range(_POINTS)]
    series = [
        Series(name, [(n, report[name]["build_seconds"] + n * report[name]["step_seconds"]["median"]) for n in steps])
        for name in ("dynamic", "static")
    ]
    marks = [Mark(float(even), f"break-even: {even} steps")] if even is not None else []
    note = f"building + steps × median of {report['steps_measured']} each, made in turns; {report['device']}, backend "
    note += report["static"]["backend"]
    if even is None:
        note += "; no break-even" if report["faster"] else "; no clear difference"
    return lines(
        series,
        title="Dynamic and static graph: time after so many training steps",
        x_label="training steps",
        y_label="seconds",
        marks=marks,
        note=note,
    )


def _visit(  # noqa: PLR0917 - private, and all of it is needed
    target: str,
    request: CaptureRequest | CompareRequest,
    database: Database,
    tenant_id: str,
    preflight: Preflight,
    settings: Settings,
    more: dict[str, Any],
) -> dict[str, Any]:
    with database.read_session() as session:
        definition, pointer = find_definition(session, tenant_id=tenant_id, subject=request)
        given = find_inputs(session, tenant_id=tenant_id, definition=definition, run=request)
    payload = {
        "document": definition.sent,
        "training": request.mode == "train",
        "seed": request.seed,
        "dtype": request.dtype,
        **given,
        **more,
    }
    with weights_file(database, tenant_id=tenant_id, checkpoint_id=request.checkpoint, settings=settings) as weights:
        payload["weights"] = weights
        preflight.wait_loaded()
        return preflight.visit(target, payload, pointer=pointer, seconds=settings.static_timeout_seconds)
