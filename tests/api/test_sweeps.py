"""``/v1/sweeps`` over HTTP."""

from __future__ import annotations

import csv
import io

import pytest
from sqlalchemy import text

from api.sweep_examples import SWEEPS
from services.db.sweep_models import SweepTrial
from services.identifiers import new_id
from tests.factories import add_job

GRID = SWEEPS["grid"]["value"]
LR, SEED = "/training/optimizer/lr", "/training/seed"


@pytest.fixture
def sweep(client):
    answer = client.post("/v1/sweeps", json=GRID)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def tried(caller, database, sweep):
    """A sweep with a trial of each kind, as its driver writes them down."""
    jobs = [add_job(database, caller.tenant_id) for _ in range(2)]
    rows = [
        {"state": "succeeded", "job_id": jobs[0], "objective": 0.5, "best_step": 23},
        {"state": "submitted", "job_id": jobs[1]},
        {"state": "invalid", "problem": {"code": "shape_mismatch", "detail": "=1+1", "pointer": "/model"}},
        {"state": "failed", "problem": {"code": "non_finite_loss", "detail": "NaN"}, "objective": 0.7, "best_step": 1},
    ]
    with database.session() as session:
        for number, row in enumerate(rows):
            point = {LR: 0.001 * (number + 1), SEED: number}
            drawn = {LR: number % 4, SEED: number}
            session.add(SweepTrial(sweep_id=sweep["id"], number=number, drawn=drawn, parameters=point, **row))
    return sweep["id"]


def test_a_sweep_is_created_looked_at_and_listed(client, sweep):
    answer = client.get(f"/v1/sweeps/{sweep['id']}")
    assert answer.status_code == 200
    assert answer.json() == sweep
    assert (sweep["state"], sweep["terminal"], sweep["points"], sweep["budget"]["trials"]) == ("running", False, 12, 12)
    assert list(sweep["space"]) == [LR, SEED]
    unchanged = client.get(f"/v1/sweeps/{sweep['id']}", headers={"If-None-Match": answer.headers["etag"]})
    assert unchanged.status_code == 304
    listed = client.get("/v1/sweeps?status=running&limit=1").json()
    assert [one["id"] for one in listed["data"]] == [sweep["id"]]
    assert client.get("/v1/sweeps?status=cancelled").json()["data"] == []


@pytest.mark.parametrize("name", list(SWEEPS))
def test_the_examples_of_the_document_are_sweeps(client, name):
    answer = client.post("/v1/sweeps?validate_only=true", json=SWEEPS[name]["value"])
    assert answer.status_code == 200, answer.text
    assert answer.json()["valid"] is True
    assert client.get("/v1/sweeps").json()["data"] == []


def test_the_same_key_is_the_same_sweep(client, problem):
    headers = {"Idempotency-Key": "once"}
    first, second = (client.post("/v1/sweeps", json=GRID, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"] == f"/v1/sweeps/{first.json()['id']}"
    assert second.headers["idempotent-replayed"] == "true"
    assert len(client.get("/v1/sweeps").json()["data"]) == 1
    other = client.post("/v1/sweeps", json={**GRID, "seed": 3}, headers=headers)
    assert problem(other, 422)["code"] == "idempotency_mismatch"


def test_what_is_wrong_is_told_all_at_once_with_pointers(client, problem):
    body = {**GRID, "space": {"/labels": {"choice": ["a"]}, LR: {"choice": [0.1], "step": 1}}, "stategy": "grid"}
    found = {one["pointer"]: one["code"] for one in problem(client.post("/v1/sweeps", json=body), 422)["errors"]}
    assert found == {"/stategy": "extra_forbidden", "/space/~1training~1optimizer~1lr/step": "conflict"}
    body = {**GRID, "space": {"/labels": {"choice": ["a"]}, "/training/epoch": {"choice": [1]}}}
    errors = problem(client.post("/v1/sweeps", json=body), 422)["errors"]
    assert [(one["pointer"], one["code"]) for one in errors] == [("/space/~1labels", "not_sweepable")]


def test_trials_are_paged_by_number(client, tried):
    first = client.get(f"/v1/sweeps/{tried}/trials?limit=3").json()
    assert [one["number"] for one in first["data"]] == [0, 1, 2]
    assert (first["has_more"], first["last_id"]) == (True, "2")
    rest = client.get(f"/v1/sweeps/{tried}/trials?limit=3&after=2").json()
    assert [(one["number"], one["state"]) for one in rest["data"]] == [(3, "failed")]
    assert rest["has_more"] is False
    states = [one["state"] for one in client.get(f"/v1/sweeps/{tried}/trials?status=queued,invalid").json()["data"]]
    assert states == ["queued", "invalid"]


def test_trials_are_a_table_too(client, tried):
    answer = client.get(f"/v1/sweeps/{tried}/trials", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["state"] for row in rows] == ["succeeded", "queued", "invalid", "failed"]
    assert (rows[0][LR], rows[0]["objective"], rows[2]["problem"], rows[2]["objective"]) == (
        "0.001",
        "0.5",
        "shape_mismatch",
        "",
    )
    assert len(client.get(f"/v1/sweeps/{tried}/trials?limit=2", headers={"Accept": "text/csv"}).text.splitlines()) == 3


def test_the_best_trial_has_its_checkpoint(client, caller, database, tried):
    assert client.get(f"/v1/sweeps/{tried}").json()["best"]["checkpoint_id"] is None
    trial = client.get(f"/v1/sweeps/{tried}/trials").json()["data"][0]
    kept = [new_id("ckpt") for _ in range(2)]
    with database.session() as session:
        for step, checkpoint_id in enumerate(kept):
            session.execute(
                text(
                    "INSERT INTO checkpoint (id, tenant_id, job_id, step, epoch, attempt, best, sha256, size_bytes)"
                    " VALUES (:id, :tenant, :job, :step, 0, 1, :best, '', 0)"
                ),
                {
                    "id": checkpoint_id,
                    "tenant": caller.tenant_id,
                    "job": trial["job_id"],
                    "step": step,
                    "best": step == 0,
                },
            )
    best = client.get(f"/v1/sweeps/{tried}").json()["best"]
    assert (best["trial"], best["objective"], best["checkpoint_id"]) == (0, 0.5, kept[0])
    assert best["links"]["checkpoint"] == f"/v1/checkpoints/{kept[0]}"
    assert client.get(f"/v1/sweeps/{tried}/trials").json()["data"][0]["checkpoint_id"] == kept[0]


def test_parallel_coordinates_have_an_axis_for_each_dimension_and_one_for_the_objective(client, tried):
    found = client.get(f"/v1/sweeps/{tried}/parallel-coordinates").json()
    lr, seed, objective = found["dimensions"]
    assert [tick["position"] for tick in lr["ticks"]] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-5)
    assert (lr["scale"], seed["type"], objective["range"]) == ("log", "integer", [0.5, 0.7])
    assert [line["positions"][-1] for line in found["lines"]] == [0.0, None, None, 1.0]
    assert found["lines"][0]["values"] == [0.001, 0, 0.5]


def test_parallel_coordinates_are_drawn(client, tried):
    from xml.etree import ElementTree

    by_name = client.get(f"/v1/sweeps/{tried}/parallel-coordinates?format=svg")
    by_accept = client.get(f"/v1/sweeps/{tried}/parallel-coordinates", headers={"Accept": "image/svg+xml"})
    assert by_name.text == by_accept.text
    assert by_name.headers["content-type"].startswith("image/svg+xml")
    lines = ElementTree.fromstring(by_name.text).findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4


def test_cancel_and_its_repeat(client, tried, problem):
    first = client.post(f"/v1/sweeps/{tried}/cancel")
    assert (first.status_code, first.json()["state"], first.json()["reason"]) == (200, "cancelled", "cancel_requested")
    again = problem(client.post(f"/v1/sweeps/{tried}/cancel"), 409)
    assert (again["code"], again["state"]) == ("already_terminal", "cancelled")
    states = [one["state"] for one in client.get(f"/v1/sweeps/{tried}/trials").json()["data"]]
    assert states == ["succeeded", "cancelled", "invalid", "failed"]


def test_another_tenants_sweep_is_as_one_that_is_not_there(make_caller, sweep, problem):
    stranger = make_caller().client
    absent = new_id("swp")
    for path in ("", "/trials", "/parallel-coordinates"):
        assert problem(stranger.get(f"/v1/sweeps/{sweep['id']}{path}"), 404)["code"] == "not_found"
        assert problem(stranger.get(f"/v1/sweeps/{absent}{path}"), 404)["code"] == "not_found"
    assert problem(stranger.post(f"/v1/sweeps/{sweep['id']}/cancel"), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/sweeps/job_x", "invalid_id"),
        ("/v1/sweeps?after=job_1", "invalid_cursor"),
        ("/v1/sweeps?status=asleep", "unknown_value"),
        ("/v1/sweeps?limit=0", "out_of_range"),
        ("/v1/sweeps/{id}/trials?after=-1", "invalid_cursor"),
        ("/v1/sweeps/{id}/trials?after=9999999", "invalid_cursor"),
        ("/v1/sweeps/{id}/trials?status=proposedd", "unknown_value"),
        ("/v1/sweeps/{id}/trials?limit=101", "out_of_range"),
        ("/v1/sweeps/{id}/parallel-coordinates?format=png", "literal_error"),
        ("/v1/sweeps/{id}?x=1", "extra_forbidden"),
    ],
)
def test_wrong_queries_are_refused(client, sweep, problem, path, code):
    assert problem(client.get(path.replace("{id}", sweep["id"])), 422)["code"] == code


def test_a_reader_may_look_and_not_begin(make_caller, problem):
    reader = make_caller(scopes=("sweeps:read",)).client
    assert reader.get("/v1/sweeps").status_code == 200
    assert problem(reader.post("/v1/sweeps", json=GRID), 403)["code"] == "insufficient_scope"
