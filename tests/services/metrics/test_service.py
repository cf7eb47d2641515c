"""Metrics, written and read."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.db.engine import Database
from services.errors import NotFound
from services.identifiers import new_id
from services.metrics import repository
from services.metrics.service import LARGE_SEGMENT, compact, full_series, get_metrics, rewind, write_points
from tests.factories import add_job


@pytest.fixture
def job_id(database: Database, tenant_id: str) -> str:
    job = add_job(database, tenant_id)
    with database.session() as session:
        for first in (1, 101, 201):
            steps = list(range(first, first + 100))
            points = {"train/loss": {"steps": steps, "values": [1 / step for step in steps]}}
            points["validation/loss"] = {"steps": [first + 99], "values": [float(first)]}
            write_points(session, job_id=job, points=points)
    return job


def test_segments_are_read_as_one_series(database: Database, tenant_id: str, job_id: str) -> None:
    with database.read_session() as session:
        answer = get_metrics(session, tenant_id=tenant_id, job_id=job_id)
    assert answer["series"]["train/loss"]["steps"] == list(range(1, 301))
    assert answer["series"]["validation/loss"]["values"] == [1.0, 101.0, 201.0]
    assert answer["series"]["train/loss"]["downsampled"] is False


def test_names_after_step_max_points_and_latest_narrow_the_answer(
    database: Database, tenant_id: str, job_id: str
) -> None:
    with database.read_session() as session:
        one = get_metrics(session, tenant_id=tenant_id, job_id=job_id, names=["validation/loss"], after_step=100)
        few = get_metrics(session, tenant_id=tenant_id, job_id=job_id, max_points=10)
        last = get_metrics(session, tenant_id=tenant_id, job_id=job_id, latest=True)
    assert one["series"] == {
        "validation/loss": {
            "steps": [200, 300],
            "values": [101.0, 201.0],
            "non_finite": [],
            "count": 2,
            "downsampled": False,
        }
    }
    assert len(few["series"]["train/loss"]["steps"]) <= 10
    assert (few["series"]["train/loss"]["count"], few["series"]["train/loss"]["downsampled"]) == (300, True)
    assert last["series"]["train/loss"]["steps"] == [300]


@pytest.mark.parametrize("step", [0, 1, 150, 200, 300, 999])
@pytest.mark.parametrize("compacted", [False, True])
def test_a_rewind_cuts_at_its_step_and_the_rewrite_gives_the_same_series(
    database: Database, tenant_id: str, job_id: str, step: int, compacted: bool
) -> None:
    with database.session() as session:
        if compacted:
            compact(session, job_id=job_id)
        rewind(session, job_id=job_id, step=step)
    with database.read_session() as session:
        series = get_metrics(session, tenant_id=tenant_id, job_id=job_id)["series"]
    assert series.get("train/loss", {"steps": []})["steps"] == list(range(1, min(step, 300) + 1))
    steps = list(range(step + 1, 301))
    with database.session() as session:
        points = {"train/loss": {"steps": steps, "values": [1 / one for one in steps]}}
        write_points(session, job_id=job_id, points=points)
    with database.read_session() as session:
        series = get_metrics(session, tenant_id=tenant_id, job_id=job_id)["series"]
    assert series["train/loss"]["values"] == [1 / one for one in range(1, 301)]


def numbers_of(database: Database, job_id: str) -> dict[str, list[int]]:
    with database.read_session() as session:
        outlines = repository.outlines(session, job_id=job_id, names=None, after_step=None)
    return {name: [one.count for one in outlines if one.name == name] for name in {one.name for one in outlines}}


def test_small_segments_are_put_together_and_large_ones_left_alone(
    database: Database, tenant_id: str, job_id: str
) -> None:
    large = list(range(301, 301 + LARGE_SEGMENT))
    with database.session() as session:
        write_points(session, job_id=job_id, points={"train/loss": {"steps": large, "values": [2.0] * len(large)}})
        for step in range(2000, 2010):
            write_points(session, job_id=job_id, points={"train/loss": {"steps": [step], "values": [float(step)]}})
        full = full_series(session, job_id=job_id, name="train/loss")
        compact(session, job_id=job_id)
        compact(session, job_id=job_id)
        after = full_series(session, job_id=job_id, name="train/loss")
    assert all(np.array_equal(one, other) for one, other in zip(full, after, strict=True))
    assert numbers_of(database, job_id) == {"train/loss": [100, 100, 100, LARGE_SEGMENT, 10], "validation/loss": [3]}


@pytest.fixture(scope="module")
def wave() -> np.ndarray:
    values = np.sin(np.arange(4000) / 70) + np.random.default_rng(0).normal(size=4000) / 10
    values[1234], values[2345], values[3210] = 9.0, -9.0, np.nan
    return values


@pytest.mark.parametrize("after_step", [None, 3, 1200])
def test_a_long_series_is_drawn_from_the_extremes_of_its_segments(
    database: Database, tenant_id: str, wave: np.ndarray, after_step: int | None
) -> None:
    job = add_job(database, tenant_id)
    with database.session() as session:
        for start in range(0, 4000, 5):
            part = {"steps": list(range(start, start + 5)), "values": wave[start : start + 5].tolist()}
            write_points(session, job_id=job, points={"train/loss": part})
    with database.read_session() as session:
        drawn = get_metrics(session, tenant_id=tenant_id, job_id=job, after_step=after_step, max_points=200)
    found = drawn["series"]["train/loss"]
    first = 0 if after_step is None else after_step + 1
    assert (found["count"], found["downsampled"]) == (4000 - first, True)
    assert 100 < len(found["steps"]) <= 200
    assert found["steps"] == sorted(set(found["steps"]))
    assert (found["steps"][0], found["steps"][-1]) == (first, 3999)
    assert {1234, 2345, 3210} <= {*found["steps"]}
    assert found["non_finite"] == [{"step": 3210, "value": "nan"}]
    pairs = zip(found["steps"], found["values"], strict=True)
    assert all(value == wave[step] for step, value in pairs if step != 3210)


def test_segments_of_before_that_know_no_extremes_are_read_whole(
    database: Database, tenant_id: str, wave: np.ndarray
) -> None:
    job = add_job(database, tenant_id)
    with database.session() as session:
        for start in range(0, 600, 5):
            part = {"steps": list(range(start, start + 5)), "values": wave[start : start + 5].tolist()}
            write_points(session, job_id=job, points={"train/loss": part})
        session.execute(text("UPDATE metric_segment SET low = NULL, low_step = NULL WHERE first_step = 50"))
    with database.read_session() as session:
        found = get_metrics(session, tenant_id=tenant_id, job_id=job, max_points=100)["series"]["train/loss"]
    assert found["count"] == 600


def test_segments_put_together_while_they_are_drawn_do_no_harm(
    database: Database, tenant_id: str, wave: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_job(database, tenant_id)
    with database.session() as session:
        for start in range(0, 600, 5):
            part = {"steps": list(range(start, start + 5)), "values": wave[start : start + 5].tolist()}
            write_points(session, job_id=job, points={"train/loss": part})
    outlines = repository.outlines

    def and_compact(session: Session, **asked: Any) -> list[repository.Outline]:
        found = outlines(session, **asked)
        with database.session() as other:
            compact(other, job_id=job)
        return found

    monkeypatch.setattr(repository, "outlines", and_compact)
    with database.read_session() as session:
        found = get_metrics(session, tenant_id=tenant_id, job_id=job, max_points=100)["series"]["train/loss"]
    assert (found["count"], found["steps"][0], found["steps"][-1]) == (600, 0, 599)


def test_writing_a_segment_twice_counts_once(database: Database, tenant_id: str) -> None:
    job = add_job(database, tenant_id)
    for _ in range(2):
        with database.session() as session:
            write_points(session, job_id=job, points={"train/loss": {"steps": [1, 2], "values": [1.0, 0.5]}})
    with database.read_session() as session:
        assert get_metrics(session, tenant_id=tenant_id, job_id=job)["series"]["train/loss"]["count"] == 2


def test_another_tenants_metrics_do_not_exist(database: Database, job_id: str) -> None:
    with database.read_session() as session, pytest.raises(NotFound):
        get_metrics(session, tenant_id=new_id("ten"), job_id=job_id)
