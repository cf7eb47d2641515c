"""Metrics, written and read."""

import pytest

from services.db.engine import Database
from services.errors import NotFound
from services.identifiers import new_id
from services.metrics import repository
from services.metrics.service import get_metrics, write_points
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


def test_a_rewind_drops_whole_segments_and_the_rewrite_gives_the_same_series(
    database: Database, tenant_id: str, job_id: str
) -> None:
    with database.session() as session:
        repository.delete_after(session, job_id=job_id, step=200)
    with database.read_session() as session:
        assert get_metrics(session, tenant_id=tenant_id, job_id=job_id)["series"]["train/loss"]["steps"][-1] == 200


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
