"""Metrics: written in segments by the owner of a job, read as down-sampled series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy.orm import Session

from services.jobs.queries import get_job
from services.metrics import repository, series
from services.metrics.repository import Segment
from services.metrics.series import Steps, Values

MAX_POINTS = 1000
"""The hard cap on points of one series in one answer."""


def write_points(session: Session, *, job_id: str, points: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    """Write one segment for each series; the caller has passed the fence in this transaction.

    Args:
        points: ``{name: {"steps": [int, …], "values": [float, …]}}``, steps ascending.
    """
    rows = [
        {"job_id": job_id, "name": name, **series.pack(one["steps"], one["values"])}
        for name, one in points.items()
        if one["steps"]
    ]
    repository.insert_segments(session, rows)


def get_metrics(
    session: Session,
    *,
    tenant_id: str,
    job_id: str,
    names: Sequence[str] | None = None,
    after_step: int | None = None,
    max_points: int = MAX_POINTS,
    latest: bool = False,
) -> dict[str, Any]:
    """Return a job's series: ``{name: {steps, values, non_finite, count, downsampled}}``.

    Args:
        names: only these series; None for all.
        after_step: only points of later steps.
        max_points: at most so many points a series, never more than `MAX_POINTS`.
        latest: only the last point of each series.

    Raises:
        NotFound: the tenant has no such job.
        InvalidRequest: ``invalid_id``.
    """
    get_job(session, tenant_id=tenant_id, job_id=job_id)
    if latest:
        found = repository.newest_segments(session, job_id=job_id, names=names)
    else:
        found = repository.segments(session, job_id=job_id, names=names, after_step=after_step)
    result = {
        name: _render(list(group), after_step, 1 if latest else min(max_points, MAX_POINTS), latest)
        for name, group in groupby(found, key=lambda segment: segment.name)
    }
    return {"object": "metrics", "job_id": job_id, "series": {name: one for name, one in result.items() if one}}


def _render(segments: list[Segment], after_step: int | None, max_points: int, latest: bool) -> dict[str, Any]:
    steps, values = series.unpack(b"".join(s.steps for s in segments), b"".join(s.values for s in segments))
    if after_step is not None:
        later = steps > after_step
        steps, values = steps[later], values[later]
    if len(steps) == 0:
        return {}
    if latest:
        return {**series.to_json(steps[-1:], values[-1:]), "count": 1, "downsampled": False}
    fewer_steps, fewer_values = series.downsample(steps, values, max_points)
    shown = series.to_json(fewer_steps, fewer_values)
    return {**shown, "count": len(steps), "downsampled": len(fewer_steps) < len(steps)}


def full_series(session: Session, *, job_id: str, name: str) -> tuple[Steps, Values]:
    """Return every point of one series, for whoever decides by it; both are empty when there is none yet."""
    found = repository.segments(session, job_id=job_id, names=[name], after_step=None)
    return series.unpack(b"".join(one.steps for one in found), b"".join(one.values for one in found))
