"""Metrics over HTTP: JSON, CSV, and numbers that JSON cannot say."""

import csv
import io

import pytest

from api.responses import prefers_csv
from services.metrics.service import write_points
from tests.factories import add_job

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def job(caller, database):
    identifier = add_job(database, caller.tenant_id)
    points = {
        "train/loss": {"steps": [1, 2, 3, 4], "values": [0.5, NAN, -INF, 0.25]},
        "validation/loss": {"steps": [2, 4], "values": [0.4, INF]},
    }
    with database.session() as session:
        write_points(session, job_id=identifier, points=points)
    return f"/v1/jobs/{identifier}/metrics"


def test_series_come_with_null_for_what_json_cannot_say(client, job):
    answer = client.get(job)
    assert answer.headers["content-type"] == "application/json"
    series = answer.json()["series"]
    assert series["train/loss"]["values"] == [0.5, None, None, 0.25]
    assert series["train/loss"]["non_finite"] == [{"step": 2, "value": "nan"}, {"step": 3, "value": "-infinity"}]


def test_names_steps_and_latest_narrow_the_answer(client, job):
    assert set(client.get(job, params={"names": "validation/loss,absent"}).json()["series"]) == {"validation/loss"}
    both = client.get(job, params={"names": ["validation/loss", "train/loss"]}).json()["series"]
    assert set(both) == {"train/loss", "validation/loss"}
    later = client.get(job, params={"after_step": 3}).json()["series"]
    assert [one["steps"] for one in later.values()] == [[4], [4]]
    newest = client.get(job, params={"latest": "true"}).json()["series"]
    assert [one["steps"] for one in newest.values()] == [[4], [4]]
    thinned = client.get(job, params={"max_points": 2, "names": "train/loss"}).json()["series"]["train/loss"]
    assert len(thinned["steps"]) <= 2
    assert thinned["downsampled"] is True


def test_csv_is_had_by_asking_for_it(client, job):
    answer = client.get(job, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert rows[0] == ["series", "step", "value"]
    assert rows[1:5] == [
        ["train/loss", "1", "0.5"],
        ["train/loss", "2", "nan"],
        ["train/loss", "3", "-infinity"],
        ["train/loss", "4", "0.25"],
    ]
    assert [float(value) for _, _, value in rows[1:]][-1] == INF


def test_unchanged_metrics_are_304(client, job):
    tag = client.get(job).headers["etag"]
    assert client.get(job, headers={"If-None-Match": tag}).status_code == 304
    assert client.get(job, headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    ("accept", "csv_first"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("text/*", True),
        ("text/csv, */*", True),
        ("text/csv;q=0.5, application/json", False),
        ("application/json;q=0.5, text/csv;q=0.8", True),
        ("text/csv;q=0", False),
        ("text/csv;q=zero", False),
        ("TEXT/CSV; header=present", True),
        ("application/json, text/csv", False),
        (",,;q=,", False),
    ],
)
def test_the_accept_header_decides(accept, csv_first):
    assert prefers_csv(accept) is csv_first
