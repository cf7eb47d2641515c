"""A job may begin with the weights of a checkpoint of the same tenant."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from api import examples
from services.checkpoints import service, writer
from services.identifiers import new_id
from tests.factories import add_job, claim

REQUEST = examples.REQUESTS["short"]["value"]


@pytest.fixture
def add_checkpoint(database, tmp_path):
    """Return what stores the weights of a network like that of `REQUEST`, but with another head."""

    def add(tenant_id):
        add_job(database, tenant_id, priority=50)
        shapes = {"0.weight": (128, 64), "0.bias": (128,), "2.weight": (7, 128), "2.bias": (7,)}
        tensors = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()}
        save_file(tensors, tmp_path / service.WEIGHTS)
        snapshot = writer.Snapshot(tmp_path, (service.WEIGHTS,), step=10, epoch=1, final=True, metrics={})
        return writer.store(database, claim(database), snapshot, keep=3)

    return add


def refusal(answer):
    assert answer.status_code == 422, answer.text
    return [(problem["code"], problem["pointer"]) for problem in answer.json()["errors"]]


def test_the_job_says_what_is_taken_and_what_is_not(caller, add_checkpoint):
    checkpoint = add_checkpoint(caller.tenant_id)
    answer = caller.client.post("/v1/jobs", json={**REQUEST, "init_from": checkpoint})
    assert answer.status_code == 201, answer.text
    start = answer.json()["resolved"]["init_from"]
    assert start["tensors"] == {"0.weight": "0.weight", "0.bias": "0.bias"}
    assert [one["name"] for one in start["report"]["mismatched"]] == ["2.weight", "2.bias"]


def test_what_cannot_be_taken_is_refused_where_it_was_said(caller, make_caller, add_checkpoint):
    checkpoint = add_checkpoint(caller.tenant_id)
    stranger = make_caller()

    def post(init_from, to=caller):
        return refusal(to.client.post("/v1/jobs", json={**REQUEST, "init_from": init_from}))

    assert post(new_id("ckpt")) == [("unknown_checkpoint", "/init_from/checkpoint")]
    assert post(checkpoint, stranger) == [("unknown_checkpoint", "/init_from/checkpoint")]
    assert post("../../etc/passwd") == [("invalid_id", "/init_from/checkpoint")]
    assert post({"checkpoint": checkpoint, "strict": True}) == [("weights_mismatch", "/init_from/strict")]
    assert post({"checkpoint": checkpoint, "match": ["2.*"]}) == [("nothing_matches", "/init_from")]
    assert post({"checkpoint": checkpoint, "matches": []}) == [("extra_forbidden", "/init_from/matches")]
    assert post(7) == [("dict_type", "/init_from")]


def test_names_in_a_plan_are_checked_against_the_model(caller):
    training = {
        **REQUEST["training"],
        "freeze": ["backbone.*"],
        "optimizer": {"type": "AdamW", "groups": [{"match": "*.bia", "weight_decay": 0}]},
    }
    answer = caller.client.post("/v1/jobs?validate_only=true", json={**REQUEST, "training": training})
    assert refusal(answer) == [
        ("unknown_name", "/training/freeze/0"),
        ("unknown_name", "/training/optimizer/groups/0/match"),
    ]
    assert "'0.bias'" in answer.json()["errors"][1]["hint"]


def test_half_precision_on_a_cpu_is_refused(caller):
    body = {**REQUEST, "training": {**REQUEST["training"], "precision": "fp16"}, "resources": {"device": "cpu"}}
    assert refusal(caller.client.post("/v1/jobs", json=body)) == [("precision_unavailable", "/training/precision")]
