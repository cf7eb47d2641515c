"""New jobs from old ones: the same request once more, or with changes."""

import pytest

from api import examples
from services.db.models import Job
from services.identifiers import new_id
from services.jobs.again import merged
from services.jobs.states import transition

REQUEST = examples.REQUESTS["short"]["value"]


@pytest.fixture
def job(caller):
    return caller.client.post("/v1/jobs", json=REQUEST).json()


def end(database, job):
    with database.session() as session:
        transition(session, session.get(Job, job["id"]), "cancelled", reason="cancel_requested")


def refusal(answer):
    assert answer.status_code == 422, answer.text
    return [(problem["code"], problem["pointer"]) for problem in answer.json()["errors"]]


def test_a_job_that_has_ended_is_tried_again_as_a_new_one(caller, database, job):
    path = f"/v1/jobs/{job['id']}/retry"
    early = caller.client.post(path)
    assert (early.status_code, early.json()["code"]) == (409, "not_terminal")
    end(database, job)
    made = caller.client.post(path, headers={"Idempotency-Key": f"again-{job['id']}"})
    assert made.status_code == 201, made.text
    new = made.json()
    assert made.headers["location"] == f"/v1/jobs/{new['id']}"
    assert new["origin"] == {"kind": "retry", "job_id": job["id"]}
    assert (new["state"], new["request"], new["attempt"]) == ("queued", REQUEST, 0)
    replayed = caller.client.post(path, headers={"Idempotency-Key": f"again-{job['id']}"})
    assert replayed.json()["id"] == new["id"]
    assert job["origin"] is None


def test_a_fork_is_the_request_with_a_merge_patch(caller, job):
    changes = {"name": None, "training": {"epochs": None, "steps": 9, "optimizer": {"lr": 0.5}}}
    made = caller.client.post(f"/v1/jobs/{job['id']}/fork", json={"changes": changes})
    assert made.status_code == 201, made.text
    new = made.json()
    assert new["origin"] == {"kind": "fork", "job_id": job["id"]}
    assert new["name"] is None
    assert new["resolved"]["training"]["total_steps"] == 9
    assert new["request"]["training"]["optimizer"] == {"type": "Adam", "lr": 0.5}
    assert new["request"]["data"] == REQUEST["data"]


def test_what_is_wrong_with_a_fork_is_told_where_it_is_to_be_mended(caller, make_caller, job):
    def post(body, job_id=job["id"], by=caller):
        return by.client.post(f"/v1/jobs/{job_id}/fork", json=body)

    assert refusal(post({"changes": {"training": {"epochs": 0}}})) == [("out_of_range", "/changes/training/epochs")]
    assert refusal(post({"change": {}})) == [("extra_forbidden", "/change")]
    assert refusal(post({"changes": []})) == [("dict_type", "/changes")]
    both = {"changes": {"init_from": new_id("ckpt")}, "from_checkpoint": new_id("ckpt")}
    assert refusal(post(both)) == [("conflict", "/from_checkpoint")]
    gone = {"from_checkpoint": new_id("ckpt")}
    assert refusal(post(gone)) == [("unknown_checkpoint", "/changes/init_from/checkpoint")]
    assert post({}, new_id("job")).status_code == 404
    assert post({}, by=make_caller()).status_code == 404
    assert make_caller().client.post(f"/v1/jobs/{job['id']}/retry").status_code == 404
    assert refusal(post({}, "job_x;y")) == [("invalid_id", "")]


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_are_those_of_the_rfc(document, patch, result):
    assert merged(document, patch) == result
