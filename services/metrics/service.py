"""Metrics: written in segments by the owner of a job, read as down-sampled series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from services.jobs.queries import get_version
from services.metrics import repository, series
from services.metrics.repository import Outline, Segment
from services.metrics.series import Points, Steps, Values

MAX_POINTS = 1000
"""The hard cap on points of one series in one answer."""
LARGE_SEGMENT = 1024
"""Points of a segment that is not put together with others any more."""


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


def rewind(session: Session, *, job_id: str, step: int) -> None:
    """Forget all points after ``step``, from which a resume goes on; the caller has passed the fence."""
    kept = []
    for segment in repository.take_after(session, job_id=job_id, step=step):
        steps, values = _points([segment], None)
        before = steps <= step
        kept.append({"job_id": job_id, "name": segment.name, **series.pack(steps[before], values[before])})
    repository.insert_segments(session, kept)


def compact(session: Session, *, job_id: str) -> None:
    """Put the small segments at the end of each series together; the caller has passed the fence.

    It must not share a transaction with `write_points`, whose repetition finds its segments by where they begin.
    """
    small = repository.take_small(session, job_id=job_id, count=LARGE_SEGMENT)
    merged = []
    for name, group in groupby(small, key=lambda segment: segment.name):
        merged.append({"job_id": job_id, "name": name, **series.pack(*_points(list(group), None))})
    repository.insert_segments(session, merged)


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
    get_version(session, tenant_id=tenant_id, job_id=job_id)  # there is such a job
    if latest:
        found = repository.newest_segments(session, job_id=job_id, names=names)
        result = {segment.name: _last(segment) for segment in found}
    else:
        result = _drawn(session, job_id, names, after_step, min(max_points, MAX_POINTS))
    return {"object": "metrics", "job_id": job_id, "series": {name: one for name, one in result.items() if one}}


def _last(segment: Segment) -> dict[str, Any]:
    steps, values = _points([segment], None)
    return {**series.to_json(steps[-1:], values[-1:]), "count": 1, "downsampled": False}


def _drawn(
    session: Session, job_id: str, names: Sequence[str] | None, after_step: int | None, max_points: int
) -> dict[str, Any]:
    """Return all series down-sampled: of those with many segments the points themselves are not read."""
    known = repository.outlines(session, job_id=job_id, names=names, after_step=after_step)
    outlines = {name: list(group) for name, group in groupby(known, key=lambda one: one.name)}
    long = {name for name, found in outlines.items() if _is_long(found, max_points)}
    read = [name for name in outlines if name not in long]
    stored = repository.segments(session, job_id=job_id, names=read, after_step=after_step) if read else []
    result = {
        name: _render(*_points(list(group), after_step), max_points)
        for name, group in groupby(stored, key=lambda segment: segment.name)
    }
    result |= {name: _sketch(session, job_id, outlines[name], after_step, max_points) for name in long}
    return {name: result[name] for name in outlines if name in result}


def _is_long(outlines: list[Outline], max_points: int) -> bool:
    """Tell whether there are enough segments to choose from; the first, which may be cut, is looked at anyway."""
    return max_points >= 4 and len(outlines) - 1 > max_points // 2 and all(one.low_step is not None for one in outlines)


def _points(segments: list[Segment], after_step: int | None) -> Points:
    if not segments:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    pieces = [series.unpack(one.first_step, one.steps, one.values) for one in segments]
    steps, values = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    if after_step is None:
        return steps, values
    later = steps > after_step
    return steps[later], values[later]


def _render(steps: Steps, values: Values, max_points: int) -> dict[str, Any]:
    if len(steps) == 0:
        return {}
    fewer_steps, fewer_values = series.downsample(steps, values, max_points)
    shown = series.to_json(fewer_steps, fewer_values)
    return {**shown, "count": len(steps), "downsampled": len(fewer_steps) < len(steps)}


def _sketch(
    session: Session, job_id: str, outlines: list[Outline], after_step: int | None, max_points: int
) -> dict[str, Any]:
    """Draw a long series from the extremes of its segments; only the first and the last of them are read."""
    names, ends = [outlines[0].name], [outlines[0], outlines[-1]]
    found = repository.segments(session, job_id=job_id, names=names, first_steps=[one.first_step for one in ends])
    whole = [_points([segment], None) for segment in found]
    if [int(steps[-1]) for steps, _ in whole] != [one.last_step for one in ends]:  # put together a moment ago
        return _render(*_points(repository.segments(session, job_id=job_id, names=names), after_step), max_points)
    begin, end = _points(found[:1], after_step), whole[1]
    first = series.pack(*begin)
    kept = {field.name: first[field.name] for field in fields(Outline) if field.name in first}
    runs = [Outline(name=names[0], **kept), *outlines[1:]]
    counts = np.array([run.count for run in runs])
    lows = np.array([run.low_step for run in runs]), np.array([run.low for run in runs], dtype=np.float64)
    highs = np.array([run.high_step for run in runs]), np.array([run.high for run in runs], dtype=np.float64)
    both = np.array([begin[0][0], end[0][-1]]), np.array([begin[1][0], end[1][-1]])
    steps, values = series.downsample_extremes(counts, lows, highs, both, max_points)
    total = int(counts.sum())
    return {**series.to_json(steps, values), "count": total, "downsampled": len(steps) < total}


def full_series(session: Session, *, job_id: str, name: str) -> tuple[Steps, Values]:
    """Return every point of one series, for whoever decides by it; both are empty when there is none yet."""
    return _points(repository.segments(session, job_id=job_id, names=[name]), None)
