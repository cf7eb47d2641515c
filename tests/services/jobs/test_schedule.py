"""Jobs that are to start at a time: nobody claims them before, everybody sees when."""

from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError
from sqlalchemy import text

from services.jobs import repository
from services.jobs.claims import claim_next
from services.jobs.schedule import check_time, read_time
from tests.factories import add_job, read_job
from worker.recovery import recover, release_due


class Bell:
    def __init__(self):
        self.rung = []

    def ring(self, job_id, device):
        self.rung.append(job_id)


@pytest.fixture(autouse=True)
def _empty_queue(database):
    with database.session() as session:
        session.execute(text("DELETE FROM job"))


def held(database, tenant_id, **columns):
    job_id = add_job(database, tenant_id, **columns)
    move(database, job_id, "1 hour")
    return job_id


def move(database, job_id, interval):
    moved = "UPDATE job SET start_after = now() + CAST(:by AS interval), held_until = now() + CAST(:by AS interval)"
    with database.session() as session:
        rung = ", rung_at = now() - interval '1 hour' WHERE id = :id"
        session.execute(text(moved + rung), {"by": interval, "id": job_id})


def take(database):
    with database.session() as session:
        return claim_next(session, owner="x", devices=["cpu"], lease_seconds=20)


def test_nobody_claims_it_or_rings_for_it_before_its_time(database, tenant_id):
    held(database, tenant_id, priority=100)
    later, bell = add_job(database, tenant_id), Bell()
    recover(database, bell)
    assert bell.rung == []
    assert take(database).job_id == later
    assert take(database) is None


def test_when_its_time_has_come_it_is_rung_for_and_claimed(database, tenant_id):
    job_id, bell = held(database, tenant_id), Bell()
    move(database, job_id, "-1 second")
    assert take(database) is None  # not yet looked at
    assert release_due(database, bell) == 1
    assert bell.rung == [job_id]
    assert release_due(database, bell) == 0
    assert take(database).job_id == job_id
    with database.read_session() as session:
        kinds = [event.type for event in repository.events(session, job_id=job_id)]
    assert kinds == ["job.due", "job.state_changed"]
    assert read_job(database, job_id).start_after is not None


@pytest.mark.parametrize(
    "given",
    ["2026-12-24T18:00:00Z", "2026-12-24t18:00:00.123456z", "2026-12-24 19:00:00+01:00", "2001-01-01T00:00:00Z"],
)
def test_times_are_those_of_rfc_3339(given):
    assert check_time(given) == given
    assert read_time(given).utcoffset().total_seconds() == 0


@pytest.mark.parametrize(
    "given",
    [
        "",
        "tomorrow",
        "2026-12-24",
        "2026-12-24T18:00:00",
        "2026-W52-4",
        "2026-13-01T00:00:00Z",
        "2026-12-24T18:00:00+99:00",
        "1e9",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "٢026-12-24T18:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(given):
    with pytest.raises(PydanticCustomError) as caught:
        check_time(given)
    assert caught.value.context["code"] == "invalid_time"


def test_a_time_beyond_a_year_is_out_of_range():
    with pytest.raises(PydanticCustomError) as caught:
        check_time("2099-01-01T00:00:00Z")
    assert caught.value.context["code"] == "out_of_range"
