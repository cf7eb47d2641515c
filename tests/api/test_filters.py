"""Lists by the time of creation and by state: the same words everywhere."""

from datetime import UTC, datetime, timedelta

import pytest

from api.sweep_examples import SWEEPS
from tests.api.stored import add_checkpoint
from tests.factories import add_job, read_job

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ids(client, path, **query):
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["data"]]


def test_jobs_are_filtered_by_when_they_came(caller, database):
    early, late = (add_job(database, caller.tenant_id, created_at=NOON + timedelta(hours=n)) for n in (0, 1))
    assert ids(caller.client, "/v1/jobs", created_after="2026-11-23T11:59:59.5Z") == [late, early]
    assert ids(caller.client, "/v1/jobs", created_after="2026-11-23T12:00:00Z") == [late]
    assert ids(caller.client, "/v1/jobs", created_after="2026-11-23T13:00:00.000001+01:00") == [late]
    assert ids(caller.client, "/v1/jobs", created_after="9999-12-31T23:59:59Z") == []
    assert ids(caller.client, "/v1/jobs", created_after="0001-01-01T00:00:00+14:00", status="queued") == [late, early]


@pytest.mark.parametrize("kind", ["models", "datasets", "sweeps", "checkpoints"])
def test_other_things_too(caller, database, kind):
    client = caller.client
    if kind == "models":
        client.post("/v1/models", json={"model": "Linear(2, 2)"})
    elif kind == "datasets":
        client.post("/v1/datasets", json={"columns": {"x": [1, 2]}})
    elif kind == "sweeps":
        assert client.post("/v1/sweeps", json=SWEEPS["grid"]["value"]).status_code == 201
    path = f"/v1/{kind}"
    if kind == "checkpoints":
        job = client.get(f"/v1/checkpoints/{add_checkpoint(database, caller.tenant_id, b'x' * 100)}").json()["job_id"]
        path = f"/v1/jobs/{job}/checkpoints"
    query = {"owner": "own"} if kind == "datasets" else {}
    assert len(ids(client, path, created_after="2020-01-01T00:00:00Z", **query)) == 1
    assert ids(client, path, created_after="2100-01-01T00:00:00Z", **query) == []


def test_data_sets_are_filtered_by_state_and_the_built_in_ones_are_ready(client):
    begun = client.post("/v1/datasets", json={"format": "csv"}).json()["id"]
    assert ids(client, "/v1/datasets", status="uploading,failed") == [begun]
    assert "digits" in ids(client, "/v1/datasets", status="ready")
    assert begun not in ids(client, "/v1/datasets", status="ready")
    assert "digits" not in ids(client, "/v1/datasets", created_after="2020-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "time", ["yesterday", "2026-11-23", "1795392000", "2026-11-23T04:30:00", "2026-13-01T00:00:00Z", "", "%00"]
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sweeps", "/v1/datasets", "/v1/models"])
def test_what_is_no_time_with_a_zone_is_refused(client, problem, path, time):
    found = problem(client.get(f"{path}?created_after={time}"), 422)
    assert found["code"] == ("invalid_character" if time == "%00" else "datetime_type"), found


def test_a_page_goes_on_where_the_last_one_ended_with_the_same_filter(caller, database):
    made = [add_job(database, caller.tenant_id, created_at=NOON + timedelta(minutes=n)) for n in range(5)]
    query = {"created_after": "2026-11-23T12:00:00Z", "limit": 3}
    first = caller.client.get("/v1/jobs", params=query).json()
    rest = caller.client.get("/v1/jobs", params={**query, "after": first["last_id"]}).json()
    found = [one["id"] for one in [*first["data"], *rest["data"]]]
    assert (sorted(found), first["has_more"], rest["has_more"]) == (sorted(made[1:]), True, False)
    assert read_job(database, made[0]).created_at == NOON
